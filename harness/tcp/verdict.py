"""What a control script amounts to: both ends' states, how the conversation was opened and closed, and by whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from harness.tcp.control import ACKS_FIN, ACKS_SYN, BY_RESPONDER, FIN_WAS_ACKED
from harness.tcp.ends import ENDS
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.states import Event, State
from harness.tcp.walk import Step, walk

_OVER = (State.CLOSED, State.LISTEN)

Closer = Literal["initiator", "responder", "both"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a script amounts to.

    Attributes:
        first: both ends' states before the first segment.
        steps: every event at either end, in order.
        open: "three-way"; "simultaneous" (both sent a SYN of their own); "refused" (RST answers the SYN);
            "unanswered"; "incomplete" (no third step); "not-shown" (the capture starts later, or lacks the answer to
            the SYN).
        close: "four-segment": the second FIN acknowledges the first, which an earlier segment had already
            acknowledged; "three-segment": the second FIN is the first to acknowledge the first; "simultaneous":
            neither FIN acknowledges the other; "half-closed": one FIN; "reset": an acceptable RST before both FINs
            were acknowledged; "open": none of these.
        closer: who sent the first FIN ("both" on a simultaneous close); on a reset who sent the RST.
        reset_at: the place in the script of that RST, or None.
    """

    first: tuple[State, State]
    steps: tuple[Step, ...]
    open: str
    close: str
    closer: Closer | None
    reset_at: int | None


def verdict(script: tuple[int, ...], *, initiator_acked: bool) -> Verdict:
    """Judge a script of codes (harness.tcp.control); short ones, which repeat, are remembered.

    Args:
        script: the codes, in capture order.
        initiator_acked: whether the initiator sent any ACK, control segment or not.
    """
    judge = _remembered if len(script) <= _SHORT else _judge
    return judge(script, initiator_acked=initiator_acked)


def _judge(script: tuple[int, ...], *, initiator_acked: bool) -> Verdict:
    first, steps = walk(script)
    reset_at = _reset(first, steps)
    fins = _first_fins(script)
    close = "reset" if reset_at is not None else _close(script, fins)
    return Verdict(
        first,
        tuple(steps),
        _open(script, steps, initiator_acked=initiator_acked),
        close,
        _closer(script, close, fins, reset_at),
        reset_at,
    )


_SHORT = 64
_remembered = lru_cache(maxsize=1 << 12)(_judge)


def _open(script: Sequence[int], steps: list[Step], *, initiator_acked: bool) -> str:
    syns, syn_acks, acks = [False, False], [False, False], [False, False]
    for code in script:
        sender = 1 if code & BY_RESPONDER else 0
        syns[sender] |= code & (SYN | ACK) == SYN
        syn_acks[sender] |= code & (SYN | ACK) == (SYN | ACK)
        acks[sender] |= code & (ACK | RST) == ACK and bool(code & ACKS_SYN)
    if not syns[0]:
        return "not-shown"
    if syns[1] and all(acks):
        return "simultaneous"
    if syn_acks[1]:
        return "three-way" if acks[0] else "incomplete"
    if any(step.event is Event.RCV_RST and step.end == 0 for step in steps):
        return "refused"
    if not initiator_acked:
        return "incomplete" if syns[1] else "unanswered"
    return "not-shown"


def _first_fins(script: Sequence[int]) -> tuple[int | None, int | None]:
    """Where in the script each end's first FIN stands."""
    found: list[int | None] = [None, None]
    for at, code in enumerate(script):
        sender = 1 if code & BY_RESPONDER else 0
        if code & FIN and found[sender] is None:
            found[sender] = at
    return found[0], found[1]


def _reset(first: tuple[State, State], steps: list[Step]) -> int | None:
    """Where the first RST stands that its receiver had to take before both FINs were acknowledged."""
    now = list(first)
    for index, step in enumerate(steps):
        taken = step.event is Event.RCV_RST and step.illegal is None and step.state in _OVER
        if taken and now[step.end] not in (*_OVER, State.TIME_WAIT):
            opens_again = any(later.end == step.end and later.state is State.ESTABLISHED for later in steps[index:])
            if step.state is State.CLOSED or not opens_again:  # back in LISTEN it may be opened after all
                return step.row
        now[step.end] = step.state
    return None


def _close(script: Sequence[int], fins: tuple[int | None, int | None]) -> str:
    if fins[0] is None or fins[1] is None:
        return "open" if fins[0] is fins[1] else "half-closed"
    second = script[max(fins[0], fins[1])]
    if not second & ACK or not second & ACKS_FIN:
        return "simultaneous"
    return "four-segment" if second & FIN_WAS_ACKED else "three-segment"


def _closer(
    script: Sequence[int], close: str, fins: tuple[int | None, int | None], reset_at: int | None
) -> Closer | None:
    if close == "simultaneous":
        return "both"
    if reset_at is not None:
        return ENDS[1 if script[reset_at] & BY_RESPONDER else 0]
    sent = [at for at in fins if at is not None]
    return ENDS[fins.index(min(sent))] if sent else None
