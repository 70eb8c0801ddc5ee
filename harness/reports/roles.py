"""What each control segment of a conversation is for, and its arithmetic, in numbers as they stand on the wire.

[handshake 2/3] ack 481914175 = ISN 481914174 + 1 ✓
[close 2/4] ack 481917949 ✗ it should be FIN 481917947 + 1 = 481917948
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.language import _
from harness.messages import translated
from harness.tcp.control import IN_WINDOW
from harness.tcp.conversation import ENDS, Conversation, End, Segment, other
from harness.tcp.values import MODULUS

if TYPE_CHECKING:
    from harness.tcp.values import Seq

_Said = Iterator[tuple[int, str]]  # row, line
_COMPLETE = ("three-segment", "four-segment", "simultaneous")


def roles(conversation: Conversation) -> dict[int, list[str]]:
    """The lines to be said of each control segment: its roles, both ends' states after it, and what is illegal there.

    Control segments are here the SYNs, the handshake's ACK, each FIN, the first ACK that covers it, and each RST.

    Returns:
        Frame number → lines.

    Raises:
        NotShown: the capture does not hold the sequence numbers (tcpdump's text may not).
    """
    found: dict[int, list[str]] = {}
    for source in (_handshake, _close, _resets):
        for row, line in source(conversation):
            found.setdefault(row, []).append(line)
    for row, lines in found.items():
        one, two = conversation.states_by_row[row]
        lines.append(_("states: initiator {one}, responder {two}").format(one=one, two=two))
    for step in conversation.illegal:
        end = translated(ENDS[step.end])
        said = _("✗ the {end} may not do this in its state: {name}").format(end=end, name=step.illegal)
        found.setdefault(step.row, []).append(said)
    return {conversation.at(row).frame: lines for row, lines in found.items()}


def _sum(field: str, number: "Seq", name: str, start: "Seq", *terms: int) -> str:
    """That a number is, or is not, another one and what was added to that; "field N = name M + 1 ✓"."""
    right = start + sum(terms)
    added = f"{name} {start.value}" + "".join(f" + {term}" for term in terms)
    wraps = " (mod 2³²)" if start.value + sum(terms) >= MODULUS else ""
    if number == right:
        return f"{field} {number.value} = {added}{wraps} ✓"
    return _("{found} ✗ it should be {right}").format(
        found=f"{field} {number.value}", right=f"{added} = {right.value}{wraps}" if terms else added
    )


def _acknowledges(ack: "Seq", name: str, start: "Seq", most: int) -> str:
    """That a number acknowledges one number (a SYN) and perhaps as many as *most* that follow it."""
    more = ack.distance_from(start) - 1
    return _sum("ack", ack, name, start, *((1, more) if 0 < more <= most else (1,)))


def _first_syn(conversation: Conversation, sender: End) -> Segment | None:
    return next((segment for segment in conversation.sent_by[sender] if segment.has_syn), None)


def _asked(conversation: Conversation, answer: Segment) -> Segment | None:
    """The SYN that a SYN-ACK answers: the last one that it acknowledges; else the first, which it should."""
    syns = [one for one in conversation.sent_by[other(answer.sender)] if one.has_syn]
    fitting = (one for one in reversed(syns) if 0 <= answer.ack.distance_from(one.seq) - 1 <= one.len)
    return next(fitting, syns[0] if syns else None)


def _handshake(conversation: Conversation) -> _Said:
    firsts = {end: _first_syn(conversation, end) for end in ENDS}
    crossing = firsts["responder"] is not None and not firsts["responder"].has_ack
    for segment in (one for one in conversation.rows_in_order if one.has_syn):
        step = "2" if segment.has_ack else "1"
        label = _("[simultaneous open]") if crossing else _("[handshake {step}/3]").format(step=step)
        asked, first = _asked(conversation, segment), firsts[segment.sender]
        if segment.has_ack and asked is not None:
            yield segment.row, f"{label} {_acknowledges(segment.ack, 'ISN', asked.seq, asked.len)}"
        if first is None or first is segment:
            sender = translated(segment.sender)
            said = _("SYN seq {seq}: the ISN of the {end}").format(seq=segment.seq.value, end=sender)
        elif segment.seq == first.seq:
            said = _("SYN again: {sum}").format(sum=_sum("seq", segment.seq, "ISN", first.seq))
        else:
            said = _("SYN seq {seq}: another SYN, not the ISN {isn}").format(seq=segment.seq.value, isn=first.seq.value)
        yield segment.row, f"{label} {said}"
    syn, answer = firsts["initiator"], firsts["responder"]
    if answer is None or crossing:
        return
    third = next((one for one in conversation.sent_by["initiator"] if one.row > answer.row and not one.has_syn), None)
    if third is None or third.has_rst:
        return
    label = _("[handshake {step}/3]").format(step=3)
    sent = third.highest_sent_by_peer
    most = sent.distance_from(answer.seq) - 1 if sent else 0
    acks = _acknowledges(third.ack, "ISN", answer.seq, most) if third.has_ack else _("✗ the flag ACK is off")
    yield third.row, f"{label} {acks}"
    if syn is not None:
        more = third.seq.distance_from(syn.seq) - 1  # data before it: lost, captured late, or the SYN's own (RFC 7413)
        terms = (1, more) if more > 0 and (third.in_place or more <= syn.len) else (1,)
        yield third.row, f"{label} {_sum('seq', third.seq, 'ISN', syn.seq, *terms)}"


def _close(conversation: Conversation) -> _Said:
    fins, acks = conversation.first_fin, conversation.first_fin_ack
    rows = sorted({one.row for one in (*fins.values(), *acks.values()) if one is not None})
    complete = conversation.close in _COMPLETE and all(acks.values())

    def label(row: int) -> str:
        steps = {"step": rows.index(row) + 1, "steps": len(rows)} if complete and row in rows else {}
        return _("[close {step}/{steps}]").format(**steps) if steps else _("[close]")

    for end in ENDS:
        fin, ack = fins[end], acks[end]
        if fin is None:
            continue
        if ack is not None:
            terms = (int(fin.len), 1) if fin.len else (1,)
            yield ack.row, f"{label(ack.row)} {_sum('ack', ack.ack, 'FIN', fin.seq, *terms)}"
        elif (last := _last_ack(conversation, fin)) is not None:  # which may be legal, but is worth a look
            said = _("ack {ack} does not cover the FIN: {end} would").format(ack=last.ack.value, end=fin.end.value)
            yield last.row, f"{label(last.row)} {said}"
        yield fin.row, f"{label(fin.row)} {_of_fin(fin)}"
        for again in conversation.sent_by[end]:
            if again.has_fin and again is not fin:
                said = _sum("seq + length", again.seq + int(again.len), "FIN", fin.seq + int(fin.len))
                yield again.row, f"{label(again.row)} {_('FIN again: {sum}').format(sum=said)}"


def _last_ack(conversation: Conversation, fin: Segment) -> Segment | None:
    """The last that the other end acknowledged after a FIN."""
    after = (one for one in conversation.sent_by[other(fin.sender)] if one.row > fin.row)
    return next((one for one in reversed(list(after)) if one.has_ack and not one.has_rst), None)


def _of_fin(fin: Segment) -> str:
    if not fin.in_place:
        return _("FIN {sum}").format(sum=_sum("seq", fin.seq, "end", fin.expected_seq))
    data = f" + {int(fin.len)}" if fin.len else ""
    return _("FIN seq {seq} takes one number: its ACK is {seq}{data} + 1 = {end}").format(
        seq=fin.seq.value, data=data, end=fin.end.value
    )


def _resets(conversation: Conversation) -> _Said:
    codes = dict(zip(conversation.control_rows, conversation.script, strict=True))
    for segment in (one for one in conversation.rows_in_order if one.has_rst):
        yield segment.row, f"{_('[reset]')} RST {_of_reset(conversation, segment, codes[segment.row])}"


def _of_reset(conversation: Conversation, reset: Segment, code: int) -> str:
    """Why its receiver must take it, or not (RFC 9293 §3.10.7)."""
    peer = other(reset.sender)
    before = (one for one in reversed(conversation.sent_by[peer]) if one.row < reset.row)
    acked = next((one for one in before if one.has_ack and not one.has_rst), None)
    numbers = {"seq": reset.seq.value, "ack": acked.ack.value if acked else 0, "end": translated(reset.sender)}
    if acked is None:  # only an ACK of the SYN refuses it
        syn = _first_syn(conversation, peer)
        if syn is None:
            return f"seq {reset.seq.value}"
        return _acknowledges(reset.ack, "ISN", syn.seq, syn.len) if reset.has_ack else _("✗ the flag ACK is off")
    if reset.seq == acked.ack:
        return _sum("seq", reset.seq, "ack", acked.ack)
    if reset.offset == 0:
        said = _("seq {seq} = as far as the {end} had sent ✓")
    elif code & IN_WINDOW:
        said = _("seq {seq} is in the window that begins at ack {ack}")
    else:
        said = _("seq {seq} ✗ it is outside the window that begins at ack {ack}")
    return said.format(**numbers)
