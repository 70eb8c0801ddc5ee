"""Walk a conversation's control segments through the state table, for both ends at once.

The wire shows what an end sends, not what it has received. So:

- an end has received its peer's SYN or FIN when its own ACK covers it, and not before;
- an ACK or an acceptable RST counts as received when it is seen (nothing acknowledges an ACK); if its receiver then
  sends its SYN or FIN again, the ACK had been lost, and the step is taken back;
- the network keeps order: who has received an ACK sent after a FIN has received that FIN first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.tcp.control import (
    ACKS_ALL,
    ACKS_FIN,
    ACKS_SYN,
    ACKS_UNSENT,
    AFTER_FIN,
    AT_ISN,
    BY_RESPONDER,
    IN_SEQUENCE,
    IN_WINDOW,
)
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.states import Event, State, step


@dataclass(frozen=True, slots=True)
class Step:
    """One event at one end.

    Attributes:
        row: the segment it is inferred from: its place in the script (in a Conversation's steps: among its segments).
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
    fin_sent: bool = False
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


def start_states(script: Sequence[int]) -> tuple[State, State]:
    """Both ends' states before the first captured segment."""
    first = script[0]
    if not first & SYN:
        return State.ESTABLISHED, State.ESTABLISHED
    if first & ACK and first & BY_RESPONDER:
        return State.SYN_SENT, State.LISTEN
    answer = next((code for code in script if code & BY_RESPONDER), 0)
    refuses = answer & RST and answer & ACKS_ALL
    return State.CLOSED, State.CLOSED if refuses else State.LISTEN


class _Walk:
    """One walk through one script."""

    def __init__(self, script: Sequence[int]) -> None:
        self.script = script
        self.first = start_states(script)
        self.ends = (_End(self.first[0]), _End(self.first[1]))
        if self.first[0] is State.ESTABLISHED:  # nothing of the opening is to be waited for
            for end in self.ends:
                end.syn_sent = end.has_peers_syn = end.syn_acked = True
        elif self.first[0] is State.SYN_SENT:
            self.ends[0].syn_sent = self.ends[0].opened = True
        self.steps: list[Step] = []

    def run(self) -> None:
        for row, code in enumerate(self.script):
            for who, event in self._events(code, 1 if code & BY_RESPONDER else 0):
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

    def _events(self, code: int, sender: int) -> Iterator[tuple[int, Event]]:
        """What one segment tells.

        First what its sender must have received, then what it sends, then what its receiver gets of it.
        """
        # An ACK of what this peer never sent, by an end that has sent no SYN, belongs to an older connection.
        stranger = not (self.ends[sender].syn_sent or code & SYN) and code & ACKS_UNSENT
        acks = code & ACK and not code & RST and not stranger
        if acks:
            yield from self._has_received(sender, code)
        yield from self._sends(sender, code)
        if code & RST:
            if self._acceptable_rst(code, self.ends[1 - sender].state):
                yield 1 - sender, Event.RCV_RST
        elif acks:
            yield from self._acknowledges(sender, code)

    def _has_received(self, sender: int, code: int) -> Iterator[tuple[int, Event]]:
        me, peer = self.ends[sender], self.ends[1 - sender]
        if peer.syn_sent and not me.has_peers_syn and code & ACKS_SYN:
            me.has_peers_syn = True
            if me.syn_sent and code & SYN and peer.syn_was_syn_ack:  # simultaneous open: its SYN came before that
                yield sender, Event.RCV_SYN
            yield sender, Event.RCV_SYN_ACK if peer.syn_was_syn_ack else Event.RCV_SYN
        if peer.fin_sent and not me.has_peers_fin and code & ACKS_FIN:
            me.has_peers_fin = True
            yield sender, Event.RCV_FIN

    def _sends(self, sender: int, code: int) -> Iterator[tuple[int, Event]]:
        me = self.ends[sender]
        if code & SYN:
            again = code & AT_ISN and me.syn_was_syn_ack == bool(code & ACK)
            if me.syn_sent and again and me.state is State.ESTABLISHED:
                me.take_back()
            me.syn_sent = True
            me.syn_was_syn_ack = bool(code & ACK)
            me.opened = me.opened or not code & ACK
            yield sender, Event.SND_SYN_ACK if code & ACK else Event.SND_SYN
        if code & FIN:
            if me.fin_sent and me.fin_acked:
                me.take_back()
            me.fin_sent = True
            yield sender, Event.SND_FIN
        # Before its SYN is answered, a RST of its own only answers a stranger (RFC 9293 §3.5.2).
        stranger = me.state is State.SYN_SENT and not code & IN_SEQUENCE
        if code & RST and not stranger:
            yield sender, Event.SND_RST

    def _acknowledges(self, sender: int, code: int) -> Iterator[tuple[int, Event]]:
        me, peer, other = self.ends[sender], self.ends[1 - sender], 1 - sender
        if peer.syn_sent and not peer.syn_acked and code & ACKS_SYN and not code & SYN:
            peer.syn_acked = True
            if peer.state in (State.SYN_RECEIVED, State.SYN_SENT):
                yield other, Event.RCV_ACK_OF_SYN
        elif code & SYN and code & ACKS_SYN and peer.state is State.SYN_RECEIVED:  # simultaneous open
            peer.syn_acked = True
            yield other, Event.RCV_ACK_OF_SYN
        if peer.fin_sent and not peer.fin_acked and code & ACKS_FIN:
            if me.fin_sent and not peer.has_peers_fin and code & AFTER_FIN:
                peer.has_peers_fin = True
                yield other, Event.RCV_FIN
            peer.fin_acked = True
            yield other, Event.RCV_ACK_OF_FIN

    def _acceptable_rst(self, code: int, receiver: State) -> bool:
        """Whether the receiver takes a RST: in SYN-SENT by its ACK, otherwise by its place in the window.

        RFC 9293 §3.10.7.3 and §3.10.7.4. (RFC 5961 §3.2 has it answer one that is in the window but not exactly next
        with a challenge ACK; whether it does, its next segment shows.)
        """
        if receiver is State.SYN_SENT:
            return bool(code & ACK and code & ACKS_ALL)
        return bool(receiver not in (State.CLOSED, State.LISTEN) and code & IN_WINDOW)


def walk(script: Sequence[int]) -> tuple[tuple[State, State], list[Step]]:
    """Walk a script of codes (harness.tcp.control).

    Returns both ends' first states, and every step in order of the segments.
    """
    walked = _Walk(script)
    walked.run()
    return walked.first, walked.steps


def path(first: State, steps: Sequence[Step], end: int) -> list[State]:
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
