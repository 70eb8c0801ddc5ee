"""What the handshake lab declares to be proven: see harness/grading/proving.py."""

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, acks_of_banners
from harness.grading.legal_variants import LEGAL_VARIANTS

MUTANTS = (*mutants.MUTANTS, mutants.banners, mutants.endpoints)

# TCP may acknowledge a part of a segment; this lab has the student prove that a banner is acknowledged by its length.
EQUIVALENT = tuple(rule.unless(acks_of_banners) for rule in LEGAL_TCP)

# sshd's keep-alives begin after two idle hours: no session of this lab has one, but seq - 1 of an ACK looks like it.
_NOT_IN_THIS_LAB = {legal_variants.kept_alive}
VARIANTS = tuple(variant for variant in LEGAL_VARIANTS if variant not in _NOT_IN_THIS_LAB)
