"""The ladder: a connection as two lifelines with an arrow a segment, and both ends' states beside them."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.language import ENGLISH, _, spoken
from harness.messages import translated
from harness.reports.columns import cells, right
from harness.tcp.conversation import Conversation, Segment
from harness.tcp.flags import letters

StyledLine = tuple[str, str]  # text, and one of rich's styles
KIND_STYLES = {"control": "bold", "data": "", "ack": "dim", "head": "bold", "note": "yellow"}

_STATE = 12  # the longest state's name
_TIME = 9
_TIMED_FROM = 72
_ENDS = re.compile(r"( *)initiator( +)responder")
_ARROWS = {"initiator": ("─", "▶"), "responder": ("◀", "─")}


class LadderLine(NamedTuple):
    """One line of a ladder.

    Attributes:
        text: the line.
        kind: "control" (a SYN, FIN or RST), "data", "ack", "head", or "note".
    """

    text: str
    kind: str


def labels(segment: Segment, *, absolute: bool = False) -> Iterator[str]:
    """A segment in tcpdump's words (flags, seq begin:end, ack, length), then the same in ever fewer."""
    begin, end, ack = segment.relative
    if absolute:
        begin, end = (segment.end.value - (end - begin)) % (1 << 32), segment.end.value
        ack = segment.ack.value if segment.has_ack else None
    flags, length = letters(segment.bits), int(segment.len)
    acks = "" if ack is None else f" ack {ack}"
    if length:
        yield f"[{flags}] seq {begin}:{end}{acks} len {length}"
        yield f"[{flags}] seq {begin}:{end}{acks}"
        yield f"[{flags}] {begin}:{end}{acks}"
        yield f"[{flags}] {begin}({length}){acks}"
    elif segment.has_syn or segment.has_fin or segment.has_rst or segment.is_elsewhere:
        yield f"[{flags}] seq {begin}{acks}"
        yield f"[{flags}] {begin}{acks}"
    else:
        yield f"[{flags}]{acks}"
    yield f"[{flags}]"


def in_words(line: str) -> str:
    """A line of a ladder that was drawn in English, in the language that is spoken."""
    if spoken() == ENGLISH:
        return line
    if heads := _ENDS.fullmatch(line):
        return heads[1] + _ends(len(line) - len(heads[1]))
    return translated(line)


def _ends(width: int) -> str:
    """The names of both ends, over their lifelines."""
    one = _("initiator")
    return one + right(_("responder"), width - cells(one))


def kind_of(segment: Segment) -> str:
    """What an arrow is drawn as: "control" (a SYN, FIN or RST), "data" or "ack"."""
    if segment.has_syn or segment.has_fin or segment.has_rst:
        return "control"
    return "data" if segment.len else "ack"


def _arrow(segment: Segment, width: int, *, absolute: bool) -> str:
    start, stop = _ARROWS[segment.sender]
    for words in labels(segment, absolute=absolute):
        if len(words) <= width - 4:
            break
    else:
        words = ""
    line = f" {words} ".center(width - 2, "─")
    return f"{start}{line}{stop}"


def ladder(
    conversation: Conversation,
    *,
    width: int = 80,
    absolute: bool = False,
    notes: Sequence[tuple[str, ...]] | None = None,
) -> Iterator[LadderLine]:
    """Draw a conversation; no line is longer than *width*.

    Args:
        conversation: what to draw.
        width: columns, at least 60; below 72 the time is left out.
        absolute: sequence numbers as they stood on the wire (tcpdump -S), not counted from the ISNs.
        notes: what to say of each segment, under its arrow.
    """
    digits = len(str(conversation.rows_in_order[-1].frame))
    timed = width >= _TIMED_FROM
    left = digits + 1 + (_TIME + 1 if timed else 0)
    middle = width - left - 2 * (_STATE + 1)
    margin, ends = " " * left, width - left

    def between(one: str, two: str) -> str:
        return margin + one + two.rjust(ends - len(one))

    yield LadderLine(between(conversation.initiator, conversation.responder), "head")
    yield LadderLine(margin + _ends(ends), "head")
    began = conversation.rows_in_order[0].time
    one_before = other_before = None
    for segment, (one, other) in zip(conversation.rows_in_order, conversation.states_by_row, strict=True):
        # A state is written where it begins; a bar says that it goes on.
        left_state = ("│" if one is one_before else one.value).ljust(_STATE)
        right_state = ("│" if other is other_before else other.value).rjust(_STATE)
        seconds = f"{(segment.time - began) / 1e9:.6f} ".rjust(_TIME + 1) if timed else ""
        arrow = _arrow(segment, middle, absolute=absolute)
        frame = str(segment.frame).rjust(digits)
        yield LadderLine(f"{frame} {seconds}{left_state} {arrow} {right_state}", kind_of(segment))
        one_before, other_before = one, other
        if notes and notes[segment.row]:
            yield LadderLine(f"{margin}{'':<{_STATE}} {', '.join(notes[segment.row]):^{middle}}".rstrip(), "note")
