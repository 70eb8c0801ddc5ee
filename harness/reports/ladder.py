"""The ladder: a connection as two lifelines with an arrow a segment, and both ends' states beside them."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.tcp.conversation import Conversation, Segment

_STATE = 12  # the longest state's name
_TIME = 9
_ARROWS = {"initiator": ("─", "▶"), "responder": ("◀", "─")}


@dataclass(frozen=True, slots=True)
class LadderLine:
    """One line of a ladder.

    Attributes:
        text: the line.
        kind: "control" (a SYN, FIN or RST), "data", "ack", or "head".
    """

    text: str
    kind: str


def label(segment: Segment, *, absolute: bool = False) -> str:
    """A segment in tcpdump's words: flags, seq begin:end, ack, length."""
    if absolute:
        begin, end = segment.seq.value, segment.end.value
        ack = segment.ack.value if segment.has_ack else None
    else:
        begin, end, ack = segment.relative
    parts = [f"[{segment.flags}]"]
    if segment.len or segment.has_syn or segment.has_fin or segment.has_rst:
        parts.append(f"seq {begin}:{end}" if segment.len else f"seq {begin}")
    if ack is not None:
        parts.append(f"ack {ack}")
    if segment.len:
        parts.append(f"len {int(segment.len)}")
    return " ".join(parts)


def _kind(segment: Segment) -> str:
    if segment.has_syn or segment.has_fin or segment.has_rst:
        return "control"
    return "data" if segment.len else "ack"


def _arrow(segment: Segment, width: int, *, absolute: bool) -> str:
    start, stop = _ARROWS[segment.sender]
    words = f" {label(segment, absolute=absolute)} "
    line = words.center(width - 2, "─")
    return f"{start}{line}{stop}"


def ladder(conversation: Conversation, *, width: int = 80, absolute: bool = False) -> Iterator[LadderLine]:
    """Draw a conversation.

    Args:
        conversation: what to draw.
        width: columns, at least 60.
        absolute: sequence numbers as they stood on the wire (tcpdump -S), not counted from the ISNs.
    """
    digits = len(str(conversation.rows_in_order[-1].frame))
    arrow = max(width - digits - _TIME - 2 * _STATE - 5, 16)
    left = digits + 1 + _TIME + 1
    heads = f"{conversation.initiator}".ljust(_STATE + arrow // 2 + 1)
    yield LadderLine(" " * left + heads + conversation.responder.rjust(2 * _STATE + arrow + 3 - len(heads)), "head")
    yield LadderLine(
        f"{'#':>{digits}} {'seconds':>{_TIME}} {'initiator':<{_STATE}}{'':{arrow + 3}}{'responder':>{_STATE}}".rstrip(),
        "head",
    )
    began = conversation.at(0).time
    before: tuple[str, str] = ("", "")
    for segment, states in zip(conversation.rows_in_order, conversation.states_by_row, strict=True):
        # A state is written where it begins; a bar says that it goes on.
        shown = [str(now) if now is not was else "│" for now, was in zip(states, before, strict=True)]
        seconds = (segment.time - began) / 1e9
        words = _arrow(segment, arrow, absolute=absolute)
        yield LadderLine(
            f"{segment.frame:>{digits}} {seconds:>{_TIME}.6f} {shown[0]:<{_STATE}} {words} {shown[1]:>{_STATE}}",
            _kind(segment),
        )
        before = states
