"""What the lab on lost SYNs declares to be proven: see harness/grading/proving.py.

The lab asks how a connection opens after all: its mutants change the SYNs, what answers them, and the waits between.
"""

from collections.abc import Iterator
from itertools import combinations

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference
from harness.grading.legal_variants import variant_of
from harness.grading.mutants import MICROSECOND, Good, Mutant
from harness.tcp.flags import ACK, PSH, RST, SYN
from labs.lost_syn.test_lost_syn import syns_of

EVERY_CONVERSATION = True
MILLISECOND = 1_000_000


def _syns(good: Good) -> tuple[int, ...]:
    """The rows of the SYNs."""
    return tuple(syn.row for syn in syns_of(good.conversation))


def _opening(good: Good) -> tuple[int, ...]:
    """The rows of the SYNs, of the SYN-ACK and of the third segment."""
    return (*_syns(good), *good.handshake[1:])


def fields(good: Good) -> Iterator[Mutant]:
    """The fields of the opening; the options and lengths of the SYNs."""
    for family in (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.addresses):
        yield from family(good.touching(_opening(good)))
    yield from mutants.lengths(good.touching(_syns(good)))
    # What SACK reports is asked for by the lab handshake.
    yield from (mutant for mutant in mutants.options(good.touching(_syns(good))) if "D-SACK" not in mutant.name)


def waits(good: Good) -> Iterator[Mutant]:
    """A SYN sent again too early or too late, and an answer that comes too late for it."""
    rows = good.rows
    for before, place in zip(_syns(good), _opening(good)[1:], strict=False):
        waited = rows[place]["time"] - rows[before]["time"]
        early = (1, 200, 890) if place in _syns(good) else ()  # an answer never comes too early
        for wanted in (*early, 1510, 1790, 3010, 6000):
            yield Mutant(
                "waits",
                f"{good.frames(place)} {wanted} ms after {good.frames(before)}",
                good,
                good.later(place, wanted * MILLISECOND - waited),
            )


def dropped(good: Good) -> Iterator[Mutant]:
    """Each segment of the opening missing; all from each on."""
    yield from mutants.missing(good, _opening(good))


def order(good: Good) -> Iterator[Mutant]:
    """Two segments of the opening swapped, but two SYNs, which are the same but for their time."""
    yield from mutants.swapped(good, (pair for pair in combinations(_opening(good), 2) if pair[1] not in _syns(good)))


def inserted(good: Good) -> Iterator[Mutant]:
    """Before the answer: a RST, data, an ACK, another SYN, or a SYN once more at once."""
    for place in _syns(good):
        row = good.rows[place]
        on = row.again(MICROSECOND).but(seq=row["seq"] + 1)
        for what, made in {
            "RST": on.but(flags=RST),
            "data": on.resized(4).but(flags=ACK | PSH),
            "ACK": on.but(flags=ACK),
            "SYN of another ISN": on.but(flags=SYN, seq=row["seq"] + 1000),
            "the same SYN": on.but(seq=row["seq"]),
        }.items():
            rows = good.with_instead(place, row, made)
            yield Mutant("inserted", f"{what} behind {good.frames(place)}", good, rows)


def closes(good: Good) -> Iterator[Mutant]:
    """The capture ends before the close, or its ACKs are wrong."""
    fins = [stream.fin.row for stream in good.conversation.streams]
    yield Mutant("closes", "not closed", good, good.rows[: min(fins)])
    for stream in good.conversation.streams:
        place = stream.fin_ack.row
        row = good.rows[place].but(ack=good.rows[place]["ack"] + 1000)
        yield Mutant("closes", f"ack +1000 of {good.frames(place)}", good, good.with_instead(place, row))


MUTANTS = (fields, waits, dropped, order, inserted, closes)


def _asked(found: Difference) -> bool:
    """The lab asks how long the waits are, and that all SYNs offer the same."""
    syns = set(_syns(found.good))
    return found.family == "waits" or any(
        row in syns and columns & {"sack_permitted", "wscale"} for row, columns in found.changed.items()
    )


EQUIVALENT = tuple(rule.unless(_asked) for rule in LEGAL_TCP)


def other_waits(good: Good) -> Iterator[Mutant]:
    """Timers that fire late, and the exponential back-off of RFC 6298 §5.5."""
    syns = _syns(good)
    yield variant_of("the first wait is 1.4 s", good, good.later(syns[1], 370 * MILLISECOND))
    for place in syns[2:]:
        yield variant_of("the second wait is 2 s", good, good.later(place, 980 * MILLISECOND))


def fully_later(good: Good) -> Iterator[Mutant]:
    """The connection after all others."""
    yield variant_of("an hour later", good, good.later(0, 3600_000 * MILLISECOND))


VARIANTS = (
    legal_variants.other_isns, legal_variants.ipv6, legal_variants.advice, legal_variants.other_options,
    legal_variants.captured_twice, legal_variants.ack_captured_twice, legal_variants.fin_sent_again,
    other_waits, fully_later,
)  # fmt: skip
