"""What the lab on old duplicates declares to be proven: see harness/grading/proving.py.

The lab asks what comes when a connection is closed: its mutants change the duplicates, their answers, and how the newer
SYN is accepted; of the connection before it the FINs, by whose numbers those are measured.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule, flipped
from harness.grading.legal_variants import MILLISECOND, variant_of
from harness.grading.mutants import MICROSECOND, Family, Good, Mutant, Row
from harness.tcp.conversation import ENDS, NotShown
from harness.tcp.flags import ACK, FIN, PSH, RST, SYN, URG
from harness.tcp.segments import ABSENT
from labs.old_duplicate.test_old_duplicate import late

EVERY_CONVERSATION = True
MINUTE = 60_000 * MILLISECOND


def _duplicate(good: Good) -> int | None:
    """The row of the old duplicate, if the connection has one."""
    for kind in ("data", "SYN"):
        try:
            return late((good.conversation,), kind).old.row
        except NotShown:
            continue
    return None


def _is_new(good: Good) -> bool:
    """Whether it is the connection that the newer SYN opened."""
    return good.conversation.reuses_ports


def _end(good: Good) -> tuple[int, ...]:
    """The rows of both FINs, and of the ACK with which the connection is closed."""
    streams = good.conversation.streams
    return (*(stream.fin.row for stream in streams), max(stream.fin_ack.row for stream in streams))


def _asked(good: Good) -> tuple[int, ...]:
    """The rows of the duplicate and of what follows; of the newer connection those of its handshake and first data."""
    place = _duplicate(good)
    if place is not None:
        return tuple(range(place, len(good.rows)))
    if _is_new(good):
        return (*good.handshake, *(stream.first_data.row for stream in good.conversation.streams))
    return ()


def fields(good: Good) -> Iterator[Mutant]:
    """The fields of all that the lab asks of."""
    for family in (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.addresses, mutants.lengths):
        yield from family(good.touching(_asked(good)))


def before(good: Good) -> Iterator[Mutant]:
    """The FINs before it and the last ACK: where each stream ends, and who closed first."""
    if _is_new(good):
        return
    *fins, last = _end(good)
    yield from mutants.missing(good, (*fins, last))
    if _duplicate(good) is not None:
        for family in (mutants.sequence_numbers, mutants.flags):
            yield from family(good.touching(tuple(fins)))
        yield from mutants.ack_numbers(good.touching((last,)))


def dropped(good: Good) -> Iterator[Mutant]:
    """Each segment asked for missing; all from each on."""
    yield from mutants.missing(good, _asked(good))


def order(good: Good) -> Iterator[Mutant]:
    """Two of these swapped."""
    yield from mutants.swapped(good, combinations(_asked(good), 2))


def inserted(good: Good) -> Iterator[Mutant]:
    """Behind the duplicate and each of what follows: an ACK of more, a SYN-ACK, data, a FIN, a RST by either end."""
    place = _duplicate(good)
    if place is None:
        return
    old = good.rows[place].resized(0).again(0)
    answer = good.rows[place + 1].again(0)
    made = {
        "an ACK of more": answer.but(ack=answer["ack"] + 20),
        "a SYN-ACK": answer.but(flags=SYN | ACK, seq=answer["seq"] + 70_000, ack=old["seq"] + 1),
        "data by the receiver": answer.resized(4).but(flags=ACK | PSH),
        "a FIN by the receiver": answer.but(flags=ACK | FIN),
        "a RST by the receiver": answer.but(flags=RST),
        "another ACK": answer,
        "an ACK by the sender": old.but(flags=ACK, seq=answer["ack"], ack=answer["seq"]),
    }
    for where in range(place, len(good.rows)):
        for what, row in made.items():
            new = row.but(time=good.rows[where]["time"] + MICROSECOND)
            rows = good.with_instead(where, good.rows[where], new)
            yield Mutant("inserted", f"{what} behind {good.frames(where)}", good, rows)


def numbers(good: Good) -> Iterator[Mutant]:
    """The newer connection with numbers that are not new, all through; and when TIME-WAIT is over."""
    if not _is_new(good):
        return
    for end, syn in zip(ENDS, good.handshake, strict=False):
        for by in (1, 1000, 1 << 30):
            shift = _number_before(good, syn) - by - good.rows[syn]["seq"]
            rows = tuple(
                row.but(seq=row["seq"] + shift)
                if good.end_of(row.origin) == end
                else row.but(ack=row["ack"] + shift * bool(row["flags"] & ACK))
                for row in good.rows
            )
            # Without timestamps: by them alone a SYN may be new, too.
            plain = tuple(row.but(tsval=ABSENT, tsecr=ABSENT) for row in rows)
            yield Mutant("numbers", f"the {end}'s ISN {by} below what was used", good, plain)
    yield Mutant("numbers", "an hour later", good, good.later(0, 60 * MINUTE))


def _number_before(good: Good, row: int) -> int:
    """Where the stream of the same sender ended in the connection before."""
    ours = [one for one in good.beside if one.ends == good.rows[row].ends and one["flags"] & FIN]
    return ours[-1]["seq"] + ours[-1].size


MUTANTS = (fields, before, dropped, order, inserted, numbers)


def _asked_for(found: Difference) -> bool:
    """The lab asks for each of these segments, for their order, and that nothing follows; a duplicate is the same."""
    asked = {*_asked(found.good), *_end(found.good)}
    touched = {*found.removed, *(row.origin for pair in found.reordered for row in pair)}
    urgent = flipped(found) == URG and _duplicate(found.good) in found.changed
    return found.family in ("numbers", "inserted") or urgent or bool(asked & touched)


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _third_step_with_data(found: Difference) -> bool:
    """The ACK of the newer SYN-ACK is missing, or late: the data that follows says the same."""
    if not _is_new(found.good) or found.added or found.changed:
        return False
    third = found.good.handshake[2]
    late = {tuple(row.origin for row in pair) for pair in found.reordered}
    return (found.removed, late) in (((third,), set()), ((), {(third, third + 1)}))


EQUIVALENT = (
    *(rule.unless(_asked_for) for rule in LEGAL_TCP),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
    Rule("the third step may come with data, or late (RFC 9293 §3.5)", _third_step_with_data),
)


def _earlier(family: Family) -> Family:
    """Variants of the whole capture but the newer connection, which come earlier, for they take longer."""

    def made(good: Good) -> Iterator[Mutant]:
        for variant in family(good) if _duplicate(good) is not None else ():
            rows = tuple(row.but(time=row["time"] - 60 * MINUTE) for row in variant.rows)
            yield replace(variant, rows=rows)

    return made


def without_numbers(good: Good) -> Iterator[Mutant]:
    """A duplicate's answers are equal in all; the IP header tells nothing."""
    rows: tuple[Row, ...] = tuple(row.but(ip_id=0) for row in good.rows)
    yield variant_of("no IP identification", good, rows)


def time_wait_stays(good: Good) -> Iterator[Mutant]:
    """RFC 1337: the RST is ignored, and the duplicate may come again and again."""
    place = _duplicate(good)
    if place is not None:
        again = tuple(row.again(1000 * MILLISECOND) for row in good.rows[place:])
        yield variant_of("the duplicate comes twice", good, (*good.rows, *again))


VARIANTS = (
    legal_variants.captured_twice, legal_variants.ack_captured_twice, without_numbers, time_wait_stays,
    *map(_earlier, (legal_variants.other_isns, legal_variants.ipv6, legal_variants.advice,
                    legal_variants.other_options, legal_variants.handshake_sent_again,
                    legal_variants.fin_sent_again)),
)  # fmt: skip
