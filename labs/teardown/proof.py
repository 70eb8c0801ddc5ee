"""What the teardown lab declares to be proven: see harness/grading/proving.py.

The lab asks how connections end: its mutants change the segments of the closes, in each connection in its turn.
"""

import runpy
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule, flipped, is_independent
from harness.grading.legal_variants import MILLISECOND, TIMEOUT, variant_of
from harness.grading.mutants import MADE, MICROSECOND, Family, Good, Mutant, Row, in_order
from harness.tcp.conversation import ENDS, Conversation, NotShown, Segment, conversations
from harness.tcp.flags import ACK, CWR, ECE, PSH, RST

EVERY_CONVERSATION = True

# By path: a rubric that is collected elsewhere under the name `labs` would be in the way of an import.
_RUBRIC = runpy.run_path(str(Path(__file__).with_name("test_teardown.py")))
fins: Callable[[Conversation], tuple[Segment, Segment]] = _RUBRIC["fins"]
kind: Callable[[Conversation], str] = _RUBRIC["kind"]

# -- the segments of a close -------------------------------------------------------------------------------------------


def _closing(conversation: Conversation) -> tuple[int, ...]:
    """The rows of FINs, of the ACKs of them, of RSTs, and of a refused SYN."""
    found = list(conversation.resets)
    if conversation.open == "refused":
        found.append(conversation.syn)
    for stream in conversation.streams:
        with suppress(NotShown):
            found += [stream.fin, stream.fin_ack]
    return tuple(sorted({segment.row for segment in found}))


def _of_the_close(family: Family) -> Family:
    """A family that changes the fields of the close's segments only."""
    return lambda good: family(good.touching(_closing(good.conversation)))


def _once(family: Family) -> Family:
    """A family that changes the file: once, not once for each of its conversations."""

    def made(good: Good) -> Iterator[Mutant]:
        if all(good.rows[0]["frame"] < row["frame"] for row in good.beside):
            yield from family(good)

    return made


def dropped(good: Good) -> Iterator[Mutant]:
    """Each segment of a close missing, and all from each of them on."""
    for place in _closing(good.conversation):
        yield Mutant("dropped", f"{good.frames(place)} dropped", good, good.with_instead(place))
        if place + 1 < len(good.rows):
            yield Mutant("dropped", f"all from {good.frames(place)} on dropped", good, good.rows[:place])


def order(good: Good) -> Iterator[Mutant]:
    """A segment of a close moved by one place, and two of them swapped."""
    closing = _closing(good.conversation)
    swaps = {(one, two) for one in closing for two in closing if one < two}
    swaps |= {(place - 1, place) for place in closing if place}
    yield from mutants.swapped(good, sorted(swaps))


def inserted(good: Good) -> Iterator[Mutant]:
    """Behind each segment of a close: a RST by either end, data of its sender; behind the last and a RST an ACK."""
    for place in _closing(good.conversation):
        row = good.rows[place]
        on = row.resized(0).again(MICROSECOND).but(seq=row["seq"] + row.size)
        back = on.turned().but(seq=row["ack"], ack=on["seq"])
        for what, made in {
            "RST by its sender": on.but(flags=RST | ACK),
            "RST by its receiver": back.but(flags=RST | ACK),
            "data by its sender": on.resized(4).but(flags=ACK | PSH),
            "ACK by its receiver": back.but(flags=ACK),
        }.items():
            is_over = bool(row["flags"] & RST) or place + 1 == len(good.rows)
            if what == "ACK by its receiver" and not is_over:  # of a FIN or a SYN: that may well be
                continue
            rows = (*good.rows[: place + 1], made, *good.rows[place + 1 :])
            yield Mutant("inserted", f"{what} behind {good.frames(place)}", good, rows)


MUTANTS = (
    *map(_of_the_close, (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.lengths)),
    *map(_of_the_close, (mutants.windows, mutants.addresses)),
    dropped,
    order,
    inserted,
    _once(mutants.files),
)

# -- what is legal, and what is not asked ------------------------------------------------------------------------------


def _is_another_kind(found: Difference) -> bool:
    """Whether the connection ends in another way now, or by other states: legal, but not what the lab asks for."""
    alone = replace(found.good, beside=())
    before, now = found.good.conversation, conversations(alone.segments(found.kept))[0]
    return kind(now) != kind(before) or any(now.states(end) != before.states(end) for end in ENDS)


def _turns_a_reset(found: Difference) -> bool:
    """The lab asks that a RST is the end."""
    return any(row["flags"] & RST for pair in found.reordered for row in pair)


def _one_end_turned(found: Difference) -> bool:
    """Whatever one end sent in another order, if the connection ends in the same way all the same."""
    same = bool(found.reordered) and not (found.removed or found.added or found.changed)
    good = found.good
    ours = all(
        is_independent(good, *pair) or good.end_of(pair[0].origin) == good.end_of(pair[1].origin)
        for pair in found.reordered
    )
    return same and ours and not _of_the_handshake(found) and not _turns_a_reset(found) and not _is_another_kind(found)


def _of_the_handshake(found: Difference) -> bool:
    return any(row.origin in found.good.handshake for pair in found.reordered for row in pair)


def _says_nothing(found: Difference) -> bool:
    """An ACK alone that acknowledges what its sender had acknowledged before; another segment brings the news."""
    conversation = found.good.conversation
    told = all(
        new.is_pure_ack and new["ack"] == getattr(conversation.at(new.origin).acked_before, "value", None)
        for _, new in found.pairs
    )
    return found.only_changed("ack") and told and not _is_another_kind(found)


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _data_in_a_rst(found: Difference) -> bool:
    return found.only_changed("length", "payload") and all(row["flags"] & RST for _, row in found.pairs)


def _ack_of_a_rst(found: Difference) -> bool:
    """Not that of a RST which refuses: nothing but its ack says what it answers."""
    same = found.only_changed("ack") or flipped(found) == ACK
    resets = all(old["flags"] & new["flags"] & RST for old, new in found.pairs)
    return same and resets and found.good.conversation.open != "refused"


EQUIVALENT = (
    *(rule.unless(_is_another_kind).unless(_turns_a_reset) for rule in LEGAL_TCP),
    Rule("the network may turn round what one end sent (RFC 9293 §3.10.7.4)", _one_end_turned),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
    Rule("a RST may carry data (RFC 9293 §3.5.3)", _data_in_a_rst),
    Rule("a RST is taken for its seq, before anybody looks at its ack (RFC 9293 §3.10.7.4)", _ack_of_a_rst),
)
NOT_ASKED = (
    Rule("how a connection opens is asked for by the lab handshake", _of_the_handshake),
    Rule("an ACK too many: the lab handshake asks for the cause of each", _says_nothing),
)

# -- legal variants ----------------------------------------------------------------------------------------------------


def _only(wanted: str, family: Family) -> Family:
    """A family of other closes, for the connections that it leaves of their kind."""
    return lambda good: family(good) if kind(good.conversation) == wanted else iter(())


def _moved(good: Good, name: str, by: int, port: int = 0) -> Mutant:
    """The connection at another time; with other ports it is one more of its kind."""
    moved = tuple(row.but(time=row["time"] + by) for row in good.rows)
    if port:
        copies = tuple(
            replace(row, origin=MADE).but(sport=row["sport"] + port, dport=row["dport"] + port) for row in moved
        )
        return variant_of(name, good, tuple(sorted((*good.rows, *copies), key=lambda row: row["time"])))
    return variant_of(name, good, moved)


def another_order(good: Good) -> Iterator[Mutant]:
    """The connection before and after all others, and twice."""
    hour = 3600_000 * MILLISECOND
    who = good.conversation.initiator
    yield _moved(good, f"{who} before all others", -hour)
    yield _moved(good, f"{who} after all others", hour)
    yield _moved(good, f"{who} twice, at the same time", MILLISECOND, port=100)
    yield _moved(good, f"{who} twice, one after the other", hour, port=100)


def other_traffic(good: Good) -> Iterator[Mutant]:
    """What else a capture may hold: a connection of which it shows the beginning only, or the end only."""

    def others(rows: tuple[Row, ...]) -> Iterator[Row]:
        for row in rows:
            yield replace(row, origin=MADE).but(sport=row["sport"] + 200, dport=row["dport"] + 200)

    first_closing = min(_closing(good.conversation))
    for count in range(1, max(first_closing, 1) + 1):
        rows = in_order((*others(good.rows[:count]), *good.rows))
        yield variant_of(f"the first {count} segments of another connection before it", good, rows)
    for count in range(1, len(good.rows)):
        rows = in_order((*others(good.rows[count:]), *good.rows))
        yield variant_of(f"another connection before it, without its first {count} segments", good, rows)


def refused_isns(good: Good) -> Iterator[Mutant]:
    """Other numbers of a refused SYN: its ISN + 1 wraps, and is 1."""
    if good.conversation.open == "refused":
        old = good.conversation.syn.seq.value
        for isn in (2**32 - 1, 0, 2**31 - 1):
            rows = tuple(
                row.but(ack=row["ack"] - old + isn) if row["flags"] & RST else row.but(seq=row["seq"] - old + isn)
                for row in good.rows
            )
            yield variant_of(f"a refused SYN with ISN {isn}", good, rows)


def congestion(good: Good) -> Iterator[Mutant]:
    """ECN's bits on the segments of the close (RFC 3168)."""
    for bits, name in ((ECE, "ECE"), (CWR, "CWR")):
        rows = tuple(
            row.but(flags=row["flags"] | bits) if row.origin in _closing(good.conversation) else row
            for row in good.rows
        )
        yield variant_of(f"{name} in the close of {good.conversation.initiator}", good, rows)


def resets_without_ack(good: Good) -> Iterator[Mutant]:
    """A RST of an open connection need not have an ACK (RFC 9293 §3.10.7.1)."""
    if good.conversation.resets and good.conversation.open != "refused":
        rows = tuple(row.but(flags=RST, ack=0) if row["flags"] & RST else row for row in good.rows)
        yield variant_of(f"RST without ACK in {good.conversation.initiator}", good, rows)


def last_ack_lost(good: Good) -> Iterator[Mutant]:
    """The last ACK gets lost, so that the FIN comes again, and its ACK."""
    if kind(good.conversation) in ("three-segment", "data after the first FIN"):
        fin = fins(good.conversation)[1]
        answer = good.conversation.stream(fin.sender).fin_ack
        again = good.rows[fin.row].again(TIMEOUT), good.rows[answer.row].again(TIMEOUT + MICROSECOND)
        yield variant_of(f"the last ACK lost in {good.conversation.initiator}", good, (*good.rows, *again))


_SHARED = (
    legal_variants.other_isns, legal_variants.ipv6, legal_variants.advice, legal_variants.other_options,
    legal_variants.handshake_sent_again, legal_variants.data_sent_again, legal_variants.data_cut_anew,
    legal_variants.fin_sent_again, legal_variants.captured_twice, legal_variants.ack_captured_twice,
    legal_variants.overtaken, legal_variants.ack_overtaken_by_ack, legal_variants.split_in_halves,
    legal_variants.last_byte_alone, legal_variants.first_byte_alone, legal_variants.joined,
)  # fmt: skip
VARIANTS = (
    *_SHARED,
    _once(legal_variants.other_files),
    _only("four-segment", legal_variants.closed_in_four),
    _only("four-segment", legal_variants.fin_with_data),
    _only("four-segment", legal_variants.last_ack_lost),
    _only("four-segment", legal_variants.kept_alive),
    _only("three-segment", legal_variants.closed_in_three),
    _only("simultaneous", legal_variants.closed_at_once),
    _only("simultaneous", legal_variants.closed_at_once_too),
    _only("data after the first FIN", legal_variants.half_closed),
    _only("data after the first FIN", legal_variants.other_acks),
    another_order, other_traffic, refused_isns, congestion, resets_without_ack, last_ack_lost,
)  # fmt: skip
