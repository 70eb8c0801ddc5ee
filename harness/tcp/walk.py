"""Walk a conversation's control segments through the state table, for both ends at once.

The wire shows what an end sends, not what it has received. So:

- an end has received its peer's SYN or FIN when its own ACK covers it, and not before;
- an ACK or an acceptable RST counts as received when it is seen (nothing acknowledges an ACK); if its receiver then
  sends again what was acknowledged, it had been lost, and the step is taken back;
- the network keeps order: who has received an ACK sent after a FIN has received that FIN first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import NONE, Arithmetic
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import Segments
from harness.tcp.splitting import Rows
from harness.tcp.states import Event, State, step


@dataclass(frozen=True, slots=True)
class Step:
    """One event at one end.

    Attributes:
        row: the segment it is inferred from.
        end: 0 the initiator, 1 the responder.
        event: what happened.
        state: the end's state after it.
        illegal: the name of what was illegal about it, or None.
    """

    row: int
    end: int
    event: Event
    state: State
    illegal: str | None


@dataclass(slots=True)
class _End:
    """What is known of one end so far."""

    state: State
    syn_sent: bool = False
    syn_was_syn_ack: bool = False
    fin_end: int | None = None  # position after its FIN
    has_peers_syn: bool = False
    has_peers_fin: bool = False
    syn_acked: bool = False
    fin_acked: bool = False


def start_states(segments: Segments, conversation: Rows) -> tuple[State, State]:
    """Both ends' states before the first captured segment."""
    flags = int(segments.flags[conversation.rows[0]])
    if not flags & SYN:
        return State.ESTABLISHED, State.ESTABLISHED
    if flags & ACK and not conversation.forward[0]:
        return State.SYN_SENT, State.LISTEN
    return State.CLOSED, State.LISTEN


def _control_rows(
    flags: NDArray[np.uint16],
    forward: NDArray[np.bool_],
    numbers: Arithmetic,
) -> list[int]:
    """The rows that can change a state.

    SYN, FIN, RST; each ACK that covers more than any before it did; the first that answers a FIN sent again.
    """
    news = (flags & ACK != 0) & (numbers.ack > numbers.acked)
    control = (flags & (SYN | FIN | RST) != 0) | (news & ((numbers.acked < 1) | _covers_fin(flags, numbers)))
    for own in (forward, ~forward):
        fins = np.flatnonzero(own & (flags & FIN != 0))
        if len(fins) > 1:
            covers = np.flatnonzero(~own & (flags & ACK != 0) & (numbers.ack >= numbers.end[fins].min()))
            answers = np.searchsorted(covers, fins[1:])
            control[covers[answers[answers < len(covers)]]] = True
    return np.flatnonzero(control).tolist()


def _covers_fin(flags: NDArray[np.uint16], numbers: Arithmetic) -> NDArray[np.bool_]:
    ends = numbers.end[flags & FIN != 0]
    covers = np.zeros(len(flags), np.bool_)
    for end in np.unique(ends):
        covers |= (numbers.ack >= end) & (numbers.acked < end)
    return covers


def acceptable_rst(numbers: Arithmetic, row: int, receiver: State, window: int) -> bool:
    """Whether the receiver takes a RST (RFC 9293 §3.10.7.3 in SYN-SENT, otherwise in its window §3.10.7.4).

    RFC 5961 §3.2 has a receiver answer one that is in the window but not exactly next with a challenge ACK; the
    judgement here is RFC 9293's, by what the receiver had acknowledged in the capture.
    """
    if receiver is State.SYN_SENT:
        return bool(numbers.ack[row] != NONE and numbers.ack[row] == numbers.peer_sent[row])
    return bool(numbers.position[row] >= numbers.sent[row] - max(window, 1)) and bool(
        numbers.position[row] <= numbers.sent[row] + max(window, 1)
    )


def walk(segments: Segments, conversation: Rows, numbers: Arithmetic) -> tuple[tuple[State, State], list[Step]]:
    """Returns both ends' first states, and every step in order of the segments."""
    flags = segments.flags[conversation.rows]
    first = start_states(segments, conversation)
    ends = (_End(first[0]), _End(first[1]))
    if first[0] is State.ESTABLISHED:  # nothing of the opening is to be waited for
        for end in ends:
            end.syn_sent = end.has_peers_syn = end.syn_acked = True
    elif first[0] is State.SYN_SENT:
        ends[0].syn_sent = True
    steps: list[Step] = []

    def happens(row: int, who: int, event: Event) -> None:
        end = ends[who]
        end.state, illegal = step(end.state, event)
        steps.append(Step(row, who, event, end.state, illegal))

    for row in _control_rows(flags, conversation.forward, numbers):
        sender = 0 if conversation.forward[row] else 1
        for who, event in _events(row, sender, int(flags[row]), numbers, ends, segments, conversation):
            happens(row, who, event)
    return first, steps


def _events(  # noqa: PLR0913
    row: int,
    sender: int,
    flags: int,
    numbers: Arithmetic,
    ends: tuple[_End, _End],
    segments: Segments,
    conversation: Rows,
) -> Iterator[tuple[int, Event]]:
    """What one segment tells.

    First what its sender must have received, then what it sends, then what its receiver gets of it.
    """
    me, peer = ends[sender], ends[1 - sender]
    other = 1 - sender
    position, ack = int(numbers.position[row]), int(numbers.ack[row])
    acks = bool(flags & ACK) and not flags & RST

    if acks:
        if peer.syn_sent and not me.has_peers_syn and ack >= 1:
            me.has_peers_syn = True
            if me.syn_sent and flags & SYN and peer.syn_was_syn_ack:  # simultaneous open: its SYN came before that
                yield sender, Event.RCV_SYN
            yield sender, Event.RCV_SYN_ACK if peer.syn_was_syn_ack else Event.RCV_SYN
        if peer.fin_end is not None and not me.has_peers_fin and ack >= peer.fin_end:
            me.has_peers_fin = True
            yield sender, Event.RCV_FIN

    if flags & SYN:
        me.syn_sent = True
        me.syn_was_syn_ack = bool(flags & ACK)
        yield sender, Event.SND_SYN_ACK if flags & ACK else Event.SND_SYN
    if flags & FIN:
        if me.fin_end is not None and me.fin_acked and me.state is State.CLOSED:
            me.state, me.fin_acked = State.LAST_ACK, False  # the ACK of its FIN was lost on its way
        me.fin_end = int(numbers.end[row])
        yield sender, Event.SND_FIN
    if flags & RST:
        yield sender, Event.SND_RST
        window = int(segments.window[conversation.rows[row]])
        if acceptable_rst(numbers, row, peer.state, max(window, 1 << 16)):
            yield other, Event.RCV_RST
        return

    if acks:
        if peer.syn_sent and not peer.syn_acked and ack >= 1 and not flags & SYN:
            peer.syn_acked = True
            if peer.state in (State.SYN_RECEIVED, State.SYN_SENT):
                yield other, Event.RCV_ACK_OF_SYN
        elif flags & SYN and ack >= 1 and peer.state is State.SYN_RECEIVED:  # simultaneous open
            peer.syn_acked = True
            yield other, Event.RCV_ACK_OF_SYN
        if peer.fin_end is not None and not peer.fin_acked and ack >= peer.fin_end:
            if me.fin_end is not None and not peer.has_peers_fin and position >= me.fin_end:
                peer.has_peers_fin = True
                yield other, Event.RCV_FIN
            peer.fin_acked = True
            yield other, Event.RCV_ACK_OF_FIN


def path(first: State, steps: list[Step], end: int) -> list[State]:
    """The states one end went through, each once in a row; a CLOSED that was taken back is left out."""
    states = [first]
    for taken in steps:
        if taken.end != end:
            continue
        if states[-1] is State.CLOSED and taken.state is State.LAST_ACK:
            states.pop()
        if taken.state is not states[-1]:
            states.append(taken.state)
    return states
