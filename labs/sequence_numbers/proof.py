"""What the lab on sequence numbers declares to be proven: see harness/grading/proving.py.

The lab asks what every number counts: its mutants change the numbers, flags and lengths of every segment, take segments
away and put others in, and count as the claims that it refutes would have it: packets, and "seq + 1".
"""

import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule, flipped
from harness.grading.legal_variants import variant_of
from harness.grading.mutants import Family, Good, Mutant, Row
from harness.tcp.conversation import ENDS, Conversation, End, Segment, other
from harness.tcp.flags import ACK, FIN, SYN, URG

EVERY_CONVERSATION = True

# By path: a rubric that is collected elsewhere under the name `labs` would be in the way of an import.
_RUBRIC = runpy.run_path(str(Path(__file__).with_name("test_sequence_numbers.py")))
come_late: Callable[[Conversation], Iterator[tuple[Segment, Segment]]] = _RUBRIC["come_late"]
CIRCLE = 1 << 32
_MSS = 1460

# -- what is wrong -----------------------------------------------------------------------------------------------------


def _of_all(family: Family) -> Family:
    """A family that changes the fields of every segment."""
    return lambda good: family(good.touching(tuple(range(len(good.rows)))))


def packets_counted(good: Good) -> Iterator[Mutant]:
    """One end's seq counts its segments, not their bytes, and the other's ack counts them too."""
    for end in ENDS:
        count, counted = 0, {0: 0, 1: 1}  # position → how many segments had been sent when the stream had got there
        for segment in good.conversation.rows_in_order:
            if segment.sender == end and segment.relative[1] not in counted:
                count = max(counted.values()) + 1
                counted[segment.relative[1]] = count
        isn = good.conversation.stream(end).isn.value
        rows = []
        for row in good.rows:
            segment = good.conversation.at(row.origin)
            column, place = ("seq", segment.relative[0]) if segment.sender == end else ("ack", segment.relative[2])
            rows.append(row if place is None else row.but(**{column: isn + counted[place]}))
        yield Mutant("claims", f"seq counts packets of the {end}", good, tuple(rows))


def plus_one(good: Good) -> Iterator[Mutant]:
    """Each ack of several bytes is seq + 1; all of one end's are."""
    for stream in good.conversation.streams:
        rows = list(good.rows)
        for segment in stream.data:
            answer = next(stream.acks_of(segment.relative[0]))
            if segment.len > 1 and answer.row > segment.row:
                place = answer.row
                rows[place] = good.rows[place].but(ack=good.rows[segment.row]["seq"] + 1)
                what = f"ack of {good.frames(place)} is seq + 1 of {good.frames(segment.row)}"
                yield Mutant("claims", what, good, good.with_instead(place, rows[place]))
        yield Mutant("claims", f"every ack of the {stream.end}'s data is seq + 1", good, tuple(rows))


def other_bytes(good: Good) -> Iterator[Mutant]:
    """What is sent again is something else: its first byte, or its last."""
    for late, _ in come_late(good.conversation):
        for again in (row for row in good.rows if row["seq"] == good.rows[late.row]["seq"] and row["length"]):
            payload = again.payload or b""
            for what, made in {
                "first": bytes([payload[0] ^ 1]) + payload[1:],
                "last": payload[:-1] + bytes([payload[-1] ^ 1]),
            }.items():
                rows = good.with_instead(again.origin, again.with_payload(made))
                yield Mutant("bytes", f"another {what} byte in {good.frames(again.origin)}", good, rows)


MUTANTS = (
    *map(_of_all, (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.lengths, mutants.addresses)),
    mutants.dropped, mutants.cut_off, mutants.inserted, mutants.streams, packets_counted, plus_one, other_bytes,
)  # fmt: skip

# -- what is legal, and what is not asked ------------------------------------------------------------------------------


def _names_a_middle(found: Difference) -> bool:
    """The lab asks that ack is seq + length."""
    conversation = found.good.conversation
    for old, new in found.pairs:
        segment = conversation.at(new.origin)
        place = (segment.relative[2] or 0) + new["ack"] - old["ack"]
        if old["ack"] != new["ack"] and not conversation.is_boundary(other(segment.sender), place, before=new.origin):
            return True
    return False


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _only_added(found: Difference) -> bool:
    return bool(found.added) and not (found.removed or found.changed or found.reordered)


def _looks_like_a_keep_alive(found: Difference) -> bool:
    """An empty segment one number back; or a byte before another byte that stands alone, which then looks like one."""
    if found.only_changed("seq"):
        return all(old.is_pure_ack and new["seq"] == (old["seq"] - 1) % CIRCLE for old, new in found.pairs)
    alone = {row["seq"] for row in found.good.rows if row["length"] == 1}
    grown = all(old.is_pure_ack and new["length"] == 1 and old["seq"] in alone for old, new in found.pairs)
    return found.only_changed("length", "payload") and grown


def _looks_overtaken(found: Difference) -> bool:
    """An empty ACK that stands behind what its sender sent later."""
    conversation = found.good.conversation
    moved = [(conversation.at(old.origin), new["seq"] - old["seq"]) for old, new in found.pairs if old.is_pure_ack]
    later = (s.relative[1] == one.relative[0] + by for one, by in moved for s in conversation.sent_by[one.sender])
    return found.only_changed("seq") and len(moved) == len(found.pairs) and any(later)


def _says_nothing(found: Difference) -> bool:
    """ACKs alone that say what their sender had said."""
    if _only_added(found):
        return all(row.is_pure_ack for row in found.added)
    before = [found.good.conversation.at(row.origin).acked_before for _, row in found.pairs]
    said = [row["ack"] for _, row in found.pairs if row.is_pure_ack]
    return found.only_changed("ack") and said == [ack.value for ack in before if ack]


def _closes_earlier(found: Difference) -> bool:
    fins = {stream.end: stream.fin.seq.value for stream in found.good.conversation.streams}
    ends = (found.good.end_of(old.origin) for old, _ in found.pairs)
    there = all(old.is_pure_ack and old["seq"] == fins[end] for (old, _), end in zip(found.pairs, ends, strict=True))
    return flipped(found) == FIN and there


def _opens_otherwise(found: Difference) -> bool:
    """The third segment of the handshake is missing, or a SYN comes again."""
    if _only_added(found):
        again = {row["seq"] for row in found.good.rows if row["flags"] & SYN}
        return all(row["flags"] & SYN and row["seq"] in again for row in found.added)
    return found.removed == found.good.handshake[2:] and not (found.added or found.changed or found.reordered)


def _all_bytes_are_there(found: Difference) -> bool:
    """Of what was sent twice one copy is missing, or shorter."""
    if found.added or found.reordered or (found.changed and not found.only_changed("length", "payload")):
        return False

    def numbers(rows: tuple[Row, ...]) -> set[tuple[int, int]]:
        return {(row["sport"], (row["seq"] + place) % CIRCLE) for row in rows for place in range(row.size)}

    return numbers(found.kept) == numbers(found.good.rows)


EQUIVALENT = (
    *(rule.unless(_names_a_middle) for rule in LEGAL_TCP),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
)
NOT_ASKED = (
    Rule("when a keep-alive may come (RFC 9293 §3.8.4)", _looks_like_a_keep_alive),
    Rule("which ACK overtakes which data on its way (RFC 9293 §3.10.7.4)", _looks_overtaken),
    Rule("an ACK too many: the lab handshake asks for the cause of each", _says_nothing),
    Rule("when a connection closes: a FIN has the same number earlier, if nothing is left to send", _closes_earlier),
    Rule("how a connection opens: the lab handshake asks for that", _opens_otherwise),
    Rule("how often the same bytes are sent: once is enough to have them", _all_bytes_are_there),
    Rule("what an empty segment calls urgent (RFC 9293 §3.8.5)", lambda found: flipped(found) == URG),
)

# -- legal variants ----------------------------------------------------------------------------------------------------


def _renumbered(good: Good, name: str, end: End, isn: int) -> Mutant:
    """One end with another ISN."""
    by = isn - good.conversation.stream(end).isn.value
    rows = (
        row.but(seq=row["seq"] + by) if good.end_of(row.origin) == end
        else replace(row.but(ack=row["ack"] + by, sack=0), blocks=()) if row["flags"] & ACK
        else row
        for row in good.rows
    )  # fmt: skip
    return variant_of(name, good, tuple(rows))


def other_isns(good: Good) -> Iterator[Mutant]:
    """Any ISNs where the lab asks for none; other places of the turn; the other end's numbers turn."""
    initiator, responder = good.conversation.streams
    if initiator.isn.value == CIRCLE - 1:
        yield _renumbered(good, "the responder's first byte is number 0 too", "responder", CIRCLE - 1)
    elif CIRCLE - initiator.isn.value < initiator.bytes:
        for segment in initiator.data[1:]:
            place = segment.relative[0]
            yield _renumbered(good, f"0 is where {good.frames(segment.row)} begins", "initiator", CIRCLE - place)
            yield _renumbered(good, f"0 is before {good.frames(segment.row)}", "initiator", CIRCLE - place + 1)
        yield _renumbered(good, "both ends' numbers turn", "responder", CIRCLE - responder.data[1].relative[0] + 3)
    else:
        yield from legal_variants.other_isns(good)


def captured_uncut(good: Good) -> Iterator[Mutant]:
    """Segments that the network card cuts and joins are one frame, longer than the MSS; ACKs name what lies within."""
    for one, two in pairwise(row for row in good.rows if row["length"]):
        follows = one["sport"] == two["sport"] and one["seq"] + one["length"] == two["seq"]
        if follows and one["length"] + two["length"] > _MSS:
            whole = one.with_payload((one.payload or b"") + (two.payload or b""))
            rows = tuple(whole if row is one else row for row in good.rows if row is not two)
            yield variant_of(f"{good.frames(one.origin, two.origin)} captured as one", good, rows)


def sent_again_otherwise(good: Good) -> Iterator[Mutant]:
    """What is sent again is cut in another way: with the beginning of what follows, or its end left for later."""
    for late, _ in come_late(good.conversation):
        row, follows = good.rows[late.row], next(r for r in good.rows if r["seq"] == late.end.value and r["length"])
        more = row.with_payload((row.payload or b"") + (follows.payload or b"")[:100])
        yield variant_of(f"{good.frames(late.row)} with 100 bytes more", good, good.with_instead(late.row, more))
        payload = row.payload or b""
        parts = row.with_payload(payload[:700]), row.again(1).with_payload(payload[700:]).but(seq=row["seq"] + 700)
        yield variant_of(f"{good.frames(late.row)} in two", good, good.with_instead(late.row, *parts))


def windows(good: Good) -> Iterator[Mutant]:
    """A receiver whose window is full takes a part of a segment, and the rest later (RFC 9293 §3.10.7.4)."""
    for stream in good.conversation.streams:
        data = max(stream.data, key=lambda segment: segment.len)
        answer = good.rows[next(stream.acks_of(data.relative[0])).row]
        if not data.is_copy and len(stream.data) > 1 and answer.origin == data.row + 1:
            part = answer.but(ack=answer["ack"] - data.len // 2, window=0)
            rows = (*good.rows[: answer.origin], part, answer.again(1), *good.rows[answer.origin + 1 :])
            yield variant_of(f"the window is full in the middle of {good.frames(data.row)}", good, rows)


def kept_alive(good: Good) -> Iterator[Mutant]:
    """A keep-alive with a byte that is no data (RFC 9293 §3.8.4), and its answer."""
    first = min(stream.fin.row for stream in good.conversation.streams)
    for end in ENDS:
        last, peer = good.last_of(end, first), good.last_of(other(end), first)
        time = good.rows[first - 1]["time"]
        probe = last.again(0).resized(1).but(seq=last["seq"] + last.size - 1, flags=ACK, time=time)
        answer = peer.again(0).resized(0).but(seq=peer["seq"] + peer.size, flags=ACK, time=time)
        rows = (*good.rows[:first], probe, answer, *good.rows[first:])
        yield variant_of(f"kept alive by the {end}", good, rows)


def _once(family: Family) -> Family:
    """A family that changes the file: once, not once for each of its conversations."""

    def made(good: Good) -> Iterator[Mutant]:
        if all(good.rows[0]["frame"] < row["frame"] for row in good.beside):
            yield from family(good)

    return made


def _where_nothing_turns(family: Family) -> Family:
    """A family for the connections whose numbers need not turn at a certain segment."""

    def made(good: Good) -> Iterator[Mutant]:
        if all(CIRCLE - stream.isn.value > stream.bytes for stream in good.conversation.streams):
            yield from family(good)

    return made


_OWN: dict[Family, Family] = {
    legal_variants.data_cut_anew: _where_nothing_turns(legal_variants.data_cut_anew),
    legal_variants.other_isns: other_isns,
    legal_variants.other_files: _once(legal_variants.other_files),
}
VARIANTS = (
    *(_OWN.get(family, family) for family in legal_variants.LEGAL_VARIANTS),
    captured_uncut, sent_again_otherwise, windows, kept_alive,
)  # fmt: skip
