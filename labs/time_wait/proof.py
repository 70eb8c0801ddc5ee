"""What the lab on TIME-WAIT declares to be proven: see harness/grading/proving.py.

The lab asks how connections close, and how one is opened again from its old ports: its mutants change the segments of
the closes, and those of that handshake, in each connection in its turn.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule, flipped
from harness.grading.legal_variants import MILLISECOND, variant_of
from harness.grading.mutants import MICROSECOND, Family, Good, Mutant, Row
from harness.tcp.conversation import conversations
from harness.tcp.flags import ACK, FIN, PSH, RST
from harness.tcp.segments import ABSENT

EVERY_CONVERSATION = True
MINUTE = 60_000 * MILLISECOND


def _is_reopened(good: Good) -> bool:
    """Whether the capture shows its ports twice."""
    return any(set(row.ends) == set(good.rows[0].ends) for row in good.beside)


def _asked(good: Good) -> tuple[int, ...]:
    """The rows from the first FIN on; of a connection from another's ports those that open it."""
    if good.conversation.reuses_ports:
        return good.handshake
    first = min(stream.fin.row for stream in good.conversation.streams)
    return tuple(range(first, len(good.rows)))


def fields(good: Good) -> Iterator[Mutant]:
    """The fields of all that is asked for."""
    for family in (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.addresses):
        yield from family(good.touching(_asked(good)))
    if not good.conversation.reuses_ports:
        yield from mutants.lengths(good.touching(_asked(good)))


def dropped(good: Good) -> Iterator[Mutant]:
    """Each segment asked for missing; all from each on."""
    yield from mutants.missing(good, _asked(good))


def order(good: Good) -> Iterator[Mutant]:
    """Two segments asked for swapped."""
    yield from mutants.swapped(good, combinations(_asked(good), 2))


def inserted(good: Good) -> Iterator[Mutant]:
    """Behind the last segment of a close: a RST, data, a FIN, an ACK by either end."""
    if good.conversation.reuses_ports:
        return
    last = good.rows[-1]
    on = last.resized(0).again(MICROSECOND).but(seq=last["seq"] + last.size)
    back = on.turned().but(seq=last["ack"], ack=on["seq"])
    for who, row in (("its sender", on), ("its receiver", back)):
        for what, made in {
            "RST": row.but(flags=RST),
            "data": row.resized(4).but(flags=ACK | PSH),
            "FIN": row.but(flags=ACK | FIN),
            "ACK": row.but(flags=ACK),
        }.items():
            name = f"{what} by {who} behind {good.frames(last.origin)}"
            yield Mutant("inserted", name, good, (*good.rows, made))


def numbers(good: Good) -> Iterator[Mutant]:
    """A connection from another's ports begins with numbers, or by a clock, of before; or after a minute."""
    if not good.conversation.reuses_ports:
        return

    def later(row: Row) -> Row:
        return row.but(time=row["time"] + MINUTE)

    def earlier(row: Row) -> Row:
        return row if row["tsval"] == ABSENT else row.but(tsval=(row["tsval"] - MINUTE // MILLISECOND) % (1 << 32))

    yield Mutant("numbers", "initiator's ISN of before", good, tuple(_of_before(good)))
    yield Mutant("numbers", "initiator's ISN of before, no timestamps", good, tuple(map(_bare, _of_before(good))))
    yield Mutant("numbers", "clock of a minute before", good, tuple(map(earlier, good.rows)))
    yield Mutant("numbers", "a minute later", good, tuple(map(later, good.rows)))


def _of_before(good: Good) -> Iterator[Row]:
    for row in good.rows:
        moved = "seq" if good.end_of(row.origin) == "initiator" else "ack"
        yield row.but(**{moved: row[moved] - 100_000})


def _bare(row: Row) -> Row:
    return row.but(tsval=ABSENT, tsecr=ABSENT)


MUTANTS = (fields, dropped, order, inserted, numbers)

# -- what is legal, and what is not asked ------------------------------------------------------------------------------


def _of_what_is_asked(found: Difference) -> bool:
    """The lab asks for each of these segments, but the ACK that a FIN takes along; and when ports are used again."""
    return found.family == "numbers" or bool(set(found.removed) & set(_asked(found.good)) - _taken_along(found.good))


def _taken_along(good: Good) -> set[int]:
    """The ACK of the first FIN, if the other FIN acknowledges it too."""
    fins = sorted((stream.fin for stream in good.conversation.streams), key=lambda fin: fin.row)
    answer = good.conversation.stream(fins[0].sender).fin_ack
    return {answer.row} if answer.row < fins[1].row else set()


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _ack_turned_round(found: Difference) -> bool:
    """The ACK of the first FIN comes behind the FIN that takes it along."""
    taken = _taken_along(found.good)
    same = bool(found.reordered) and not (found.removed or found.added or found.changed)
    return same and all({one.origin, two.origin} & taken and one["src"] == two["src"] for one, two in found.reordered)


def _ack_behind_the_fin(found: Difference) -> bool:
    """The same ACK, sent behind that FIN, has overtaken it."""
    taken = {row.origin for _, row in found.pairs} <= _taken_along(found.good)
    return found.only_changed("seq") and taken and all(new["seq"] == old["seq"] + 1 for old, new in found.pairs)


def _ack_of_nothing_new(found: Difference) -> bool:
    """The same ACK acknowledges what its sender had acknowledged before: then the FIN takes the ACK along."""
    taken = {row.origin for _, row in found.pairs} <= _taken_along(found.good)
    return found.only_changed("ack") and taken and all(old["ack"] == new["ack"] + 1 for old, new in found.pairs)


def _fin_too_soon(found: Difference) -> bool:
    """The same ACK is a FIN too, which then comes again."""
    taken = {row.origin for _, row in found.pairs} <= _taken_along(found.good)
    return flipped(found) == FIN and taken


EQUIVALENT = (
    *(rule.unless(_of_what_is_asked) for rule in LEGAL_TCP),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
    Rule("the network may turn round what one end sent (RFC 9293 §3.10.7.4)", _ack_turned_round),
    Rule("an ACK that comes before the FIN may have been sent after it (RFC 9293 §3.10.7.4)", _ack_behind_the_fin),
)
NOT_ASKED = (
    Rule("an ACK too many: the lab handshake asks for the cause of each", _ack_of_nothing_new),
    Rule("a FIN that comes again: the lab lost-last-ack asks after which wait", _fin_too_soon),
)

# -- legal variants ----------------------------------------------------------------------------------------------------


def _alone(family: Family) -> Family:
    """A family, for connections whose ports were used once: with others, it would belong to them no more."""
    return lambda good: iter(()) if _is_reopened(good) else family(good)


def _same_closer(family: Family) -> Family:
    """A family of other closes, as far as the same end closes first."""

    def made(good: Good) -> Iterator[Mutant]:
        for variant in family(good):
            found = conversations(replace(good, beside=()).segments(variant.rows))[0]
            if found.closer == good.conversation.closer:
                yield variant

    return _alone(made)


def without_timestamps(good: Good) -> Iterator[Mutant]:
    """No clock in a connection from another's ports: then its ISN alone must prove it new."""
    if _is_reopened(good):
        yield variant_of(f"no timestamps in {good.frames(0)} and after", good, tuple(map(_bare, good.rows)))


def a_number_of_any_kind(good: Good) -> Iterator[Mutant]:
    """The end that had closed last may begin with any number (RFC 6191 §2: then the clock tells)."""
    if good.conversation.reuses_ports:
        rows = []
        for row in good.rows:
            moved = "ack" if good.end_of(row.origin) == "initiator" else "seq"
            rows.append(row.but(**{moved: row[moved] - (1 << 30)}) if row["flags"] & ACK else row)
        yield variant_of("the responder begins with a number of before", good, tuple(rows))


def almost_a_minute(good: Good) -> Iterator[Mutant]:
    """A connection from another's ports, when TIME-WAIT has almost ended."""
    if good.conversation.reuses_ports:
        yield variant_of("59 s later", good, good.later(0, 59_000 * MILLISECOND))


def moved(good: Good) -> Iterator[Mutant]:
    """The connection before all others, and after them."""
    for hours in (-1, 1):
        yield variant_of(f"{hours:+d} h", good, good.later(0, hours * 60 * MINUTE))


def push(good: Good) -> Iterator[Mutant]:
    """PSH on every segment, and on none."""
    for name, on, off in (("PSH everywhere", PSH, 0), ("PSH nowhere", 0, PSH)):
        yield variant_of(name, good, tuple(row.but(flags=row["flags"] & ~off | on) for row in good.rows))


_CLOSES = (
    legal_variants.closed_in_four, legal_variants.closed_in_three, legal_variants.closed_at_once,
    legal_variants.closed_at_once_too, legal_variants.fin_with_data, legal_variants.half_closed,
    legal_variants.last_ack_lost, legal_variants.kept_alive,
)  # fmt: skip
_ALONE = (
    legal_variants.other_isns, legal_variants.ipv6, legal_variants.handshake_sent_again,
    legal_variants.fin_sent_again, moved,
)  # fmt: skip
VARIANTS = (
    *map(_same_closer, _CLOSES),
    *map(_alone, _ALONE),
    legal_variants.other_options, legal_variants.captured_twice, legal_variants.ack_captured_twice,
    without_timestamps, a_number_of_any_kind, almost_a_minute, push,
)  # fmt: skip
