"""Walk a conversation's control segments through the state table, for both ends at once.

The wire shows what an end sends, not what it has received. So:

- an end has received its peer's SYN or FIN when its own ACK covers it, and not before;
- an ACK or an acceptable RST counts as received when it is seen (nothing acknowledges an ACK); if its receiver then
  sends its SYN or FIN again, the ACK had been lost, and the step is taken back;
- the network keeps order: who has received an ACK sent after a FIN has received that FIN first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import NONE, Arithmetic
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import ABSENT, Segments
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
    opened: bool = False  # it sent a SYN of its own accord
    syn_sent: bool = False
    syn_was_syn_ack: bool = False
    fin_end: int | None = None  # position after its FIN
    has_peers_syn: bool = False
    has_peers_fin: bool = False
    syn_acked: bool = False
    fin_acked: bool = False
    before_ack: State | None = None  # its state before the ACK of its SYN or FIN, if nothing has happened since

    def take_back(self) -> None:
        """Its SYN or FIN is sent again: the ACK that it seemed to have received was lost."""
        if self.before_ack is not None:
            self.state, self.before_ack = self.before_ack, None
            self.fin_acked = False
            self.syn_acked = self.state is not State.SYN_RECEIVED


def start_states(segments: Segments, conversation: Rows, numbers: Arithmetic) -> tuple[State, State]:
    """Both ends' states before the first captured segment."""
    flags = segments.flags[conversation.rows]
    first = int(flags[0])
    if not first & SYN:
        return State.ESTABLISHED, State.ESTABLISHED
    if first & ACK and not conversation.forward[0]:
        return State.SYN_SENT, State.LISTEN
    answers = np.flatnonzero(~conversation.forward)[:1]
    refuses = bool(((flags[answers] & RST != 0) & (numbers.ack[answers] == numbers.peer_sent[answers])).any())
    return State.CLOSED, State.CLOSED if refuses else State.LISTEN


def _control_rows(flags: NDArray[np.uint16], forward: NDArray[np.bool_], numbers: Arithmetic) -> list[int]:
    """The rows that can change a state.

    SYN, FIN, RST; each ACK that covers more than any before it did; the first that answers a SYN or FIN sent again.
    """
    has_ack = flags & ACK != 0
    news = has_ack & (numbers.ack > numbers.acked)
    control = (flags & (SYN | FIN | RST) != 0) | (news & ((numbers.acked < 1) | _covers_fin(flags, numbers)))
    for own in (forward, ~forward):
        for bit in (SYN, FIN):
            for row in np.flatnonzero(own & (flags & bit != 0))[1:].tolist():
                answers = np.flatnonzero((~own & has_ack & (numbers.ack >= numbers.end[row]))[row:])
                control[row + answers[:1]] = True
    return np.flatnonzero(control).tolist()


def _covers_fin(flags: NDArray[np.uint16], numbers: Arithmetic) -> NDArray[np.bool_]:
    ends = numbers.end[flags & FIN != 0]
    covers = np.zeros(len(flags), np.bool_)
    for end in np.unique(ends):
        covers |= (numbers.ack >= end) & (numbers.acked < end)
    return covers


class _Walk:
    """One walk through one conversation."""

    def __init__(self, segments: Segments, conversation: Rows, numbers: Arithmetic) -> None:
        self.segments = segments
        self.rows = conversation
        self.numbers = numbers
        self.flags = segments.flags[conversation.rows]
        self.first = start_states(segments, conversation, numbers)
        self.ends = (_End(self.first[0]), _End(self.first[1]))
        if self.first[0] is State.ESTABLISHED:  # nothing of the opening is to be waited for
            for end in self.ends:
                end.syn_sent = end.has_peers_syn = end.syn_acked = True
        elif self.first[0] is State.SYN_SENT:
            self.ends[0].syn_sent = self.ends[0].opened = True
        self.steps: list[Step] = []

    def run(self) -> None:
        for row in _control_rows(self.flags, self.rows.forward, self.numbers):
            sender = 0 if self.rows.forward[row] else 1
            for who, event in self._events(row, sender):
                self._happens(row, who, event)

    def _happens(self, row: int, who: int, event: Event) -> None:
        end = self.ends[who]
        before = end.state
        end.state, illegal = step(before, event)
        if event is Event.RCV_RST and end.state is State.LISTEN and end.opened:
            end.state = State.CLOSED  # back to LISTEN goes only who had listened (RFC 9293 §3.10.7.4)
        if end.state is not before:
            is_ack = event in (Event.RCV_ACK_OF_SYN, Event.RCV_ACK_OF_FIN)
            end.before_ack = before if is_ack else None
        self.steps.append(Step(row, who, event, end.state, illegal))

    def _events(self, row: int, sender: int) -> Iterator[tuple[int, Event]]:
        """What one segment tells.

        First what its sender must have received, then what it sends, then what its receiver gets of it.
        """
        flags = int(self.flags[row])
        ack = int(self.numbers.ack[row])
        acks = bool(flags & ACK) and not flags & RST
        me = self.ends[sender]
        # An ACK of what this peer never sent, by an end that has sent no SYN, belongs to an older connection.
        stranger = not (me.syn_sent or flags & SYN) and ack > self.numbers.peer_sent[row]
        acks = acks and not stranger
        if acks:
            yield from self._has_received(sender, ack, flags)
        yield from self._sends(row, sender, flags)
        if flags & RST:
            if self._acceptable_rst(row, self.ends[1 - sender].state):
                yield 1 - sender, Event.RCV_RST
        elif acks:
            yield from self._acknowledges(row, sender, ack, flags)

    def _has_received(self, sender: int, ack: int, flags: int) -> Iterator[tuple[int, Event]]:
        me, peer = self.ends[sender], self.ends[1 - sender]
        if peer.syn_sent and not me.has_peers_syn and ack >= 1:
            me.has_peers_syn = True
            if me.syn_sent and flags & SYN and peer.syn_was_syn_ack:  # simultaneous open: its SYN came before that
                yield sender, Event.RCV_SYN
            yield sender, Event.RCV_SYN_ACK if peer.syn_was_syn_ack else Event.RCV_SYN
        if peer.fin_end is not None and not me.has_peers_fin and ack >= peer.fin_end:
            me.has_peers_fin = True
            yield sender, Event.RCV_FIN

    def _sends(self, row: int, sender: int, flags: int) -> Iterator[tuple[int, Event]]:
        me = self.ends[sender]
        if flags & SYN:
            again = self.numbers.position[row] == 0 and me.syn_was_syn_ack == bool(flags & ACK)
            if me.syn_sent and again and me.state is State.ESTABLISHED:
                me.take_back()
            me.syn_sent = True
            me.syn_was_syn_ack = bool(flags & ACK)
            me.opened = me.opened or not flags & ACK
            yield sender, Event.SND_SYN_ACK if flags & ACK else Event.SND_SYN
        if flags & FIN:
            if me.fin_end is not None and me.fin_acked:
                me.take_back()
            me.fin_end = int(self.numbers.end[row])
            yield sender, Event.SND_FIN
        # Before its SYN is answered, a RST of its own only answers a stranger (RFC 9293 §3.5.2).
        stranger = me.state is State.SYN_SENT and self.numbers.position[row] != self.numbers.sent[row]
        if flags & RST and not stranger:
            yield sender, Event.SND_RST

    def _acknowledges(self, row: int, sender: int, ack: int, flags: int) -> Iterator[tuple[int, Event]]:
        me, peer, other = self.ends[sender], self.ends[1 - sender], 1 - sender
        if peer.syn_sent and not peer.syn_acked and ack >= 1 and not flags & SYN:
            peer.syn_acked = True
            if peer.state in (State.SYN_RECEIVED, State.SYN_SENT):
                yield other, Event.RCV_ACK_OF_SYN
        elif flags & SYN and ack >= 1 and peer.state is State.SYN_RECEIVED:  # simultaneous open
            peer.syn_acked = True
            yield other, Event.RCV_ACK_OF_SYN
        if peer.fin_end is not None and not peer.fin_acked and ack >= peer.fin_end:
            if me.fin_end is not None and not peer.has_peers_fin and self.numbers.position[row] >= me.fin_end:
                peer.has_peers_fin = True
                yield other, Event.RCV_FIN
            peer.fin_acked = True
            yield other, Event.RCV_ACK_OF_FIN

    def _acceptable_rst(self, row: int, receiver: State) -> bool:
        """Whether the receiver takes a RST: in SYN-SENT by its ACK, otherwise by its place in the window.

        RFC 9293 §3.10.7.3 and §3.10.7.4; what the receiver expects next lies between what it had acknowledged and what
        had been sent to it. (RFC 5961 §3.2 has it answer one that is in the window but not exactly next with a
        challenge ACK; whether it does, its next segment shows.)
        """
        numbers = self.numbers
        if receiver is State.SYN_SENT:
            return bool(numbers.ack[row] != NONE and numbers.ack[row] == numbers.peer_sent[row])
        if receiver in (State.CLOSED, State.LISTEN):
            return False
        theirs = self.rows.forward[:row] != self.rows.forward[row]
        acknowledged = numbers.ack[:row][theirs & (self.flags[:row] & ACK != 0)]
        sent = int(numbers.sent[row])
        low = int(acknowledged.max()) if len(acknowledged) else sent
        high = max(sent, low + self._window(np.flatnonzero(theirs)))
        return low <= int(numbers.position[row]) <= high

    def _window(self, receivers_rows: NDArray[np.intp]) -> int:
        """The last window that the receiver advertised, scaled as far as the capture shows by how much."""
        if not len(receivers_rows):
            return 1 << 16
        last = receivers_rows[-1]
        window = int(self.segments.window[self.rows.rows[last]])
        syns = np.flatnonzero(self.flags & SYN != 0)
        scales = self.segments.wscale[self.rows.rows[syns]]
        if self.flags[last] & SYN or (len(scales) and (scales == ABSENT).any()):
            return window
        own = scales[self.rows.forward[syns] == self.rows.forward[last]]
        return window << (min(int(own[0]), 14) if len(own) else 14)


def walk(segments: Segments, conversation: Rows, numbers: Arithmetic) -> tuple[tuple[State, State], list[Step]]:
    """Returns both ends' first states, and every step in order of the segments."""
    walked = _Walk(segments, conversation, numbers)
    walked.run()
    return walked.first, walked.steps


def path(first: State, steps: list[Step], end: int) -> list[State]:
    """The states one end went through, each once in a row; one that was taken back is left out."""
    states = [first]
    sends_again = (Event.SND_FIN, Event.SND_SYN, Event.SND_SYN_ACK)
    for taken in steps:
        if taken.end != end:
            continue
        if taken.event in sends_again and states[-2:-1] == [taken.state]:
            states.pop()
        if taken.state is not states[-1]:
            states.append(taken.state)
    return states
