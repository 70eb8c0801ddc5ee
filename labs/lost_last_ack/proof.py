"""What the lab on the last ACK declares to be proven: see harness/grading/proving.py.

The lab asks how the last FIN is answered: its mutants change what comes from that FIN on, and what it asks of before.
"""

from collections.abc import Iterator
from itertools import combinations

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule
from harness.grading.legal_variants import variant_of
from harness.grading.mutants import MICROSECOND, Good, Mutant
from harness.tcp.flags import ACK, FIN, PSH, RST
from labs.lost_last_ack.test_lost_last_ack import closes

EVERY_CONVERSATION = True
MILLISECOND = 1_000_000


def _again(good: Good) -> int:
    """The row of the last FIN that was sent again."""
    return closes((good.conversation,))[0].fins[-1].row


def _closing(good: Good) -> tuple[int, ...]:
    """The rows from the last FIN on where TIME-WAIT answers, else the FIN sent again and the RST."""
    close = closes((good.conversation,))[0]
    if good.conversation.close == "reset":
        return tuple(range(_again(good), len(good.rows)))
    return tuple(range(close.fins[0].row, len(good.rows)))


def fields(good: Good) -> Iterator[Mutant]:
    """The fields of the last FIN and of what answers it."""
    for family in (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.addresses, mutants.lengths):
        yield from family(good.touching(_closing(good)))


def before(good: Good) -> Iterator[Mutant]:
    """The ACKs of the handshake, and of the first FIN; the first FIN."""
    if good.conversation.close != "reset":
        first = closes((good.conversation,))[0].first
        answer = good.conversation.stream(first.sender).fin_ack
        yield from mutants.ack_numbers(good.touching((*good.handshake[1:], answer.row)))
        for family in (mutants.sequence_numbers, mutants.flags, mutants.addresses):
            yield from family(good.touching((first.row,)))


def waits(good: Good) -> Iterator[Mutant]:
    """The FIN sent again too early."""
    if good.conversation.close == "reset":
        return
    first, place = closes((good.conversation,))[0].fins[0].row, _again(good)
    for wanted in (1, 5, 29):
        by = good.rows[first]["time"] + wanted * MILLISECOND - good.rows[place]["time"]
        yield Mutant("waits", f"{good.frames(place)} after {wanted} ms", good, good.later(place, by))


def dropped(good: Good) -> Iterator[Mutant]:
    """Each segment of the end missing; all from each on."""
    yield from mutants.missing(good, _closing(good))


def order(good: Good) -> Iterator[Mutant]:
    """Two segments of the end swapped, but those that are the same but for their time."""
    pairs = combinations(_closing(good), 2)
    yield from mutants.swapped(good, (pair for pair in pairs if not mutants.same_but_for_time(good, *pair)))


def inserted(good: Good) -> Iterator[Mutant]:
    """Behind each segment of the end: a RST, data, one ACK more, a FIN of the other end's."""
    for place in _closing(good):
        row = good.rows[place]
        on = row.resized(0).again(MICROSECOND).but(seq=row["seq"] + row.size)
        back = on.turned().but(seq=row["ack"], ack=on["seq"], flags=ACK)
        made = {
            "RST": on.but(flags=RST),
            "data": on.resized(4).but(flags=ACK | PSH),
            "ACK": on.but(flags=ACK),
            "FIN": on.but(flags=ACK | FIN),
            "data by the other end": back.resized(4).but(flags=ACK | PSH),
        }
        for what, another in made.items():
            rows = good.with_instead(place, row, another)
            yield Mutant("inserted", f"{what} behind {good.frames(place)}", good, rows)


MUTANTS = (fields, before, waits, dropped, order, inserted)


def _of_the_close(found: Difference) -> bool:
    """The lab asks for each of these segments, for their order, and when the FIN comes again."""
    closing = set(_closing(found.good))
    touched = {*found.removed, *(row.origin for pair in found.reordered for row in pair)}
    return found.family == "waits" or bool(closing & touched)


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _says_nothing(found: Difference) -> bool:
    """An ACK that says what its sender had said: then it is the last FIN that acknowledges the first."""
    before = [found.good.conversation.at(row.origin).acked_before for _, row in found.pairs]
    said = [row["ack"] for _, row in found.pairs if row.is_pure_ack]
    return found.only_changed("ack") and said == [ack.value for ack in before if ack]


EQUIVALENT = (
    *(rule.unless(_of_the_close) for rule in LEGAL_TCP),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
)
NOT_ASKED = (Rule("an ACK too many: the lab handshake asks for the cause of each", _says_nothing),)


def lost_twice(good: Good) -> Iterator[Mutant]:
    """The second ACK is lost too."""
    if good.conversation.close != "reset":
        place = _again(good)
        again = tuple(row.again(420 * MILLISECOND) for row in good.rows[place:])
        yield variant_of("the second ACK lost too", good, (*good.rows, *again))


def moved(good: Good) -> Iterator[Mutant]:
    """The connection after all others; the FIN sent again later."""
    yield variant_of("an hour later", good, good.later(0, 3600_000 * MILLISECOND))
    yield variant_of("the FIN comes again after a second", good, good.later(_again(good), 800 * MILLISECOND))


VARIANTS = (
    legal_variants.other_isns, legal_variants.ipv6, legal_variants.advice, legal_variants.other_options,
    legal_variants.handshake_sent_again, legal_variants.captured_twice, legal_variants.ack_captured_twice,
    lost_twice, moved,
)  # fmt: skip
