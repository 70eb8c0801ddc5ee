"""Every segment and every state that the kernels tell of, on one clock: what a run folder's timeline.txt shows."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.kernel_states import SAMPLE_SECONDS
from harness.language import _
from harness.messages import translated
from harness.reports.columns import left as at_left
from harness.reports.ladder import labels
from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End, NotShown

_WIDTH = 80
_TIME = 12
_STATE = 12  # the longest state's name
_CUT = 1000  # nanoseconds: what a capture in microseconds leaves out of a segment's time
_ARROWS = {"initiator": "─▶", "responder": "◀─"}


class _Event(NamedTuple):
    """A line of the timeline.

    Attributes:
        time: nanoseconds since the epoch.
        end: whose state it is; None for a segment.
        text: the state, or the segment.
        within: nanoseconds by which the time may be wrong.
    """

    time: int
    end: End | None
    text: str
    within: float


def timeline(found: Iterable[Conversation], run: RunRecord) -> Iterator[str]:
    """The lines: a block for each connection of the run, that is for each scene of a lab that is made of scenes.

    Args:
        found: the capture's conversations; those of a connection's addresses and ports are its.
        run: what was recorded beside the capture.
    """
    by_ends: dict[frozenset[str], list[Conversation]] = {}
    for conversation in found:
        by_ends.setdefault(frozenset({conversation.initiator, conversation.responder}), []).append(conversation)
    yield from _legend().splitlines()
    if any(states.trace and states.clock for states in run.states.values()):
        yield from _legend_of_traces().splitlines()
    connections = run.document.get("connections") or {run.document["lab"]: run.document["four_tuple"]}
    for name, ends in connections.items():
        yield ""
        yield f"── {name} ".ljust(_WIDTH, "─")
        one = run.of(ends["initiator"], ends["responder"])
        yield from _block(by_ends.get(frozenset({one.initiator, one.responder}), []), one)


def _legend() -> str:
    return _(
        "Segments as captured on the server host, and the states of both ends' sockets as their kernels tell; in "
        "milliseconds\nsince the connection's first segment.\n"
        "≈ a state: the clocks are not matched well enough to say whether it came before or after what stands next to "
        "it."
    )


def _legend_of_traces() -> str:
    return _(
        "For half-open connections and for TIME-WAIT Linux has smaller sockets, which its trace does not show: "
        "SYN-RECEIVED\nstands where the handshake ends, and CLOSED where TIME-WAIT (or the FIN-WAIT-2 of a socket that "
        "was closed) begins."
    )


def _block(found: Sequence[Conversation], run: RunRecord) -> Iterator[str]:
    events = [event for one in found for event in _segments(one, run)]
    if not events:
        yield _("not in the capture")
        return
    began = min(event.time for event in events)
    width = max(len(event.text) for event in events)
    for end, address in zip(ENDS, (run.initiator, run.responder), strict=True):
        try:
            states, source = _states(run, end)
        except NotShown as error:
            states, source = [], translated(str(error))
        events += states
        yield f"{translated(end)} {address}{_(': ')}{source}"
    heads = at_left(_("initiator"), _STATE), at_left(_("segment"), width), _("responder")
    yield f"{'ms':>{_TIME}}   {heads[0]} {heads[1]}   {heads[2]}"
    for event in sorted(events, key=lambda event: event.time):
        cells = [event.text if event.end == end else "" for end in ("initiator", None, "responder")]
        left, right = (f"{'≈' if cell and _is_unordered(event, events) else ' '}{cell}" for cell in cells[::2])
        time = f"{(event.time - began) / 1e6:>{_TIME}.3f}"
        yield f"{time}  {left:<{_STATE + 1}} {cells[1]:<{width}}  {right}".rstrip()


def _segments(conversation: Conversation, run: RunRecord) -> Iterator[_Event]:
    digits = len(str(conversation.rows_in_order[-1].frame))
    for segment in conversation.rows_in_order:
        sender = conversation.initiator if segment.sender == "initiator" else conversation.responder
        arrow = _ARROWS["initiator" if sender == run.initiator else "responder"]
        yield _Event(segment.time, None, f"{segment.frame:>{digits}} {arrow} {next(labels(segment))}", _CUT)


def _states(run: RunRecord, end: End) -> tuple[list[_Event], str]:
    """An end's states, and how they are known.

    Raises:
        NotShown: they are not.
    """
    rows, clock = run.timed_states(end)
    if clock is None:
        within = math.inf
        words = _("ss every {ms} ms: a state stands where it was first seen, not where it began")
        source = words.format(ms=f"{SAMPLE_SECONDS * 1000:.0f}")
    else:
        within = clock.within * 1e9
        source = _("the kernel's trace, its clock matched within {us} µs").format(us=f"{clock.within * 1e6:.1f}")
    if not run.on_the_captures_clock(end):
        within = math.inf
        source += _("; by its own host's clock, which was not compared with the capture's")
    return [_Event(round(row.time * 1e6) * 1000, end, row.state, within) for row in rows], source


def _is_unordered(event: _Event, events: Sequence[_Event]) -> bool:
    """Whether it is a state so close to a segment, or to a state of the other end, that either may have been first.

    A state whose time is not known at all is marked itself, not all others for its sake.
    """
    return event.end is not None and any(
        other.end != event.end and abs(other.time - event.time) <= event.within + other.within
        for other in events
        if math.isfinite(other.within)
    )
