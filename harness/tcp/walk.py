"""Walk a conversation's control segments through the state table, for both ends at once.

The wire shows what an end sends, not what it has received. So:

- an end has received its peer's SYN or FIN when its own ACK covers it, and not before;
- an ACK or an acceptable RST counts as received when it is seen (nothing acknowledges an ACK); if its receiver then
  sends its SYN or FIN again, the ACK had been lost, and the step is taken back;
- the network keeps order: who has received an ACK sent after a FIN has received that FIN first;
- who goes on as if nothing had happened has sent no RST, or taken none: it was somebody else's, or not acceptable;
- where one direction only was captured, an end's own segments show what it must have received.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.tcp.control import (
    ACKS_DATA,
    ACKS_FIN,
    ACKS_SYN,
    ACKS_UNSENT,
    AFTER_FIN,
    AT_ISN,
    AT_NEXT,
    BY_RESPONDER,
    HAS_DATA,
    IN_SEQUENCE,
    IN_WINDOW,
)
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.states import Event, State, step

_OPENING = (State.SYN_SENT, State.SYN_RECEIVED)


class Step(NamedTuple):
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
    denied_fin: bool = False  # it sent an ACK without the peer's FIN after that
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
    answer = next((code for code in script if code & BY_RESPONDER), 0)
    if not first & (SYN | RST | ACK | BY_RESPONDER) and answer & RST:
        return State.ESTABLISHED, State.CLOSED  # an end with a connection drops a segment without ACK: a scan
    if not first & SYN:
        return State.ESTABLISHED, State.ESTABLISHED
    if first & ACK and first & BY_RESPONDER:
        return State.SYN_SENT, State.LISTEN
    refuses = answer & RST and _acks_the_syn(answer)
    return State.CLOSED, State.CLOSED if refuses else State.LISTEN


def _acks_the_syn(code: int) -> bool:
    """Whether it acknowledges the peer's SYN, and nothing that was never sent (RFC 9293 §3.10.7.3, first step)."""
    return bool(code & ACK and code & ACKS_SYN and not code & ACKS_UNSENT)


NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What comes later, from each row of a script on: the first such row, or NEVER; pairs are by sender.

    Attributes:
        next_of: any segment of an end.
        next_fin: a FIN of an end.
        next_ack_of_fin: a segment of an end that acknowledges its peer's FIN.
    """

    next_of: tuple[list[int], list[int]]
    next_fin: tuple[list[int], list[int]]
    next_ack_of_fin: tuple[list[int], list[int]]

    @classmethod
    def of(cls, script: Sequence[int]) -> "_Ahead":
        """Look through a script once, from its end."""
        count = len(script) + 1
        found = cls(*(([NEVER] * count, [NEVER] * count) for _ in range(3)))
        for row in range(len(script) - 1, -1, -1):
            code = script[row]
            sender = 1 if code & BY_RESPONDER else 0
            wanted = (True, code & FIN, code & ACKS_FIN)
            for places, holds in zip((found.next_of, found.next_fin, found.next_ack_of_fin), wanted, strict=True):
                places[sender][row] = row if holds else places[sender][row + 1]
                places[1 - sender][row] = places[1 - sender][row + 1]
        return found


class _Walk:
    """One walk through one script."""

    def __init__(self, script: Sequence[int]) -> None:
        self.script = script
        self.first = start_states(script)
        self.ends = (_End(self.first[0]), _End(self.first[1]))
        self.ahead = _Ahead.of(script)
        self.one_way = len({code & BY_RESPONDER for code in script}) == 1
        if self.first[0] is State.ESTABLISHED:  # nothing of the opening is to be waited for
            for end in self.ends:
                end.syn_sent = end.has_peers_syn = end.syn_acked = True
        elif self.first[0] is State.SYN_SENT:
            self.ends[0].syn_sent = self.ends[0].opened = True
        self.steps: list[Step] = []

    def run(self) -> None:
        for row, code in enumerate(self.script):
            for who, event in self._events(row, code, 1 if code & BY_RESPONDER else 0):
                self._happens(row, who, event)
            self._remember(code)

    def _remember(self, code: int) -> None:
        me, peer = (self.ends[1], self.ends[0]) if code & BY_RESPONDER else self.ends
        if code & FIN:
            peer.denied_fin = False
        if code & ACK and not code & ACKS_FIN:
            me.denied_fin = True

    def _happens(self, row: int, who: int, event: Event) -> None:
        end = self.ends[who]
        before = end.state
        end.state, illegal = step(before, event)
        if event is Event.RCV_RST and end.state is State.LISTEN:
            if end.opened:
                end.state = State.CLOSED  # back to LISTEN goes only who had listened (RFC 9293 §3.10.7.4)
            else:
                end.syn_sent = end.has_peers_syn = False
        if end.state is not before:
            is_ack = event in (Event.RCV_ACK_OF_SYN, Event.RCV_ACK_OF_FIN)
            end.before_ack = before if is_ack else None
        self.steps.append(Step(row, who, event, end.state, illegal))

    def _following(self, row: int, end: int) -> int | None:
        """The next control segment of an end after a row."""
        following = self.ahead.next_of[end][row + 1]
        return None if following == NEVER else self.script[following]

    def _goes_on(self, row: int, end: int) -> bool:
        """Whether an end sends something after a row that only an end with a connection sends."""
        following = self._following(row, end)
        return following is not None and not following & (SYN | RST)

    def _events(self, row: int, code: int, sender: int) -> Iterator[tuple[int, Event]]:
        """What one segment tells.

        First what its sender must have received, then what it sends, then what its receiver gets of it.
        """
        # An ACK of what this peer never sent, by an end that has sent no SYN, belongs to an older connection.
        stranger = not (self.ends[sender].syn_sent or code & SYN) and code & ACKS_UNSENT
        if self.one_way:
            yield from self._must_have_received(sender, code)
        if code & ACK and not stranger and (not code & RST or self._sends_rst(row, sender, code)):
            yield from self._has_received(sender, code)
        yield from self._sends(row, sender, code)
        if code & RST:
            if self._acceptable_rst(row, sender):
                if not self._denies_fin(row, 1 - sender):
                    yield from self._fin_before(sender)
                yield 1 - sender, Event.RCV_RST
        elif code & ACK and not stranger and not self._is_refuted(row, sender, code):
            yield from self._acknowledges(row, sender, code)

    def _must_have_received(self, sender: int, code: int) -> Iterator[tuple[int, Event]]:
        """What was not captured, since it came from the other end."""
        me = self.ends[sender]
        if code & (SYN | RST) or not code & ACK:
            return
        if me.state is State.SYN_SENT and code & IN_SEQUENCE:
            me.has_peers_syn = True
            yield sender, Event.RCV_SYN_ACK
        elif me.state is State.SYN_RECEIVED and code & ACKS_DATA:  # data is looked at after the ACK of the SYN only
            me.syn_acked = True
            yield sender, Event.RCV_ACK_OF_SYN

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

    def _sends(self, row: int, sender: int, code: int) -> Iterator[tuple[int, Event]]:
        me = self.ends[sender]
        if code & SYN and not self._is_old_syn(row, sender, code):
            again = code & AT_ISN and me.syn_was_syn_ack == bool(code & ACK)
            if me.syn_sent and again and me.state is State.ESTABLISHED:
                me.take_back()
            me.syn_sent = True
            me.syn_acked = me.syn_acked and me.state not in _OPENING  # with its ACK it is another segment
            me.syn_was_syn_ack = bool(code & ACK)
            me.opened = me.opened or not code & ACK
            if me.state is State.LISTEN and code & ACK and self._is_refused(row, 1 - sender):
                yield sender, Event.RCV_SYN  # one that the capture does not show (RFC 9293 figure 8)
            yield sender, Event.SND_SYN_ACK if code & ACK else Event.SND_SYN
        if code & FIN:
            if me.fin_sent and me.fin_acked:
                me.take_back()
            me.fin_sent = True
            yield sender, Event.SND_FIN
        if code & RST and self._sends_rst(row, sender, code):
            yield sender, Event.SND_RST

    def _sends_rst(self, row: int, sender: int, code: int) -> bool:
        """Whether an end gives up the connection with a RST.

        Before its SYN is answered, a RST of its own only answers a stranger (RFC 9293 §3.5.2).
        """
        stranger = self.ends[sender].state in _OPENING and not code & IN_SEQUENCE
        return not stranger and not self._goes_on(row, sender)

    def _fin_before(self, sender: int) -> Iterator[tuple[int, Event]]:
        """Who receives something that was sent after a FIN has received that FIN first."""
        me, peer = self.ends[sender], self.ends[1 - sender]
        if me.fin_sent and not peer.has_peers_fin:
            peer.has_peers_fin = True
            yield 1 - sender, Event.RCV_FIN

    def _denies_fin(self, row: int, end: int) -> bool:
        """Whether an end sends an ACK without the peer's FIN after that was sent, or is gone since before it."""
        following = self._following(row, end) or 0
        is_challenge = following & ACK and not following & (RST | HAS_DATA | ACKS_FIN)
        return bool(is_challenge or self.ends[end].denied_fin or self._answers_something_older(row, end))

    def _resends_fin(self, row: int, sender: int) -> bool:
        """Whether an end sends its FIN again before the other has acknowledged it: the other had not received it."""
        return self.ahead.next_fin[sender][row + 1] < self.ahead.next_ack_of_fin[1 - sender][row + 1]

    def _is_old_syn(self, row: int, sender: int, code: int) -> bool:
        """Whether a SYN is nothing that its supposed sender did in this connection.

        A copy of its own first SYN that comes late; an old one, after the connection's end; or one of a host that has
        forgotten the connection, as the RST shows by which it answers the challenge ACK (RFC 9293 figure 9).
        """
        me = self.ends[sender]
        if code & ACK or not me.has_peers_syn or me.state in (*_OPENING, State.LISTEN):
            return False
        over = me.state in (State.CLOSED, State.TIME_WAIT)
        return bool(over or code & AT_ISN or (self._following(row, sender) or 0) & RST)

    def _is_refuted(self, row: int, sender: int, code: int) -> bool:
        """Whether it acknowledges what an end that is opening never sent, and gets a RST for it (RFC 9293 §3.5.2)."""
        opening = self.ends[1 - sender].state in _OPENING
        return bool(opening and code & ACKS_UNSENT and self._is_refused(row, 1 - sender))

    def _is_refused(self, row: int, by: int) -> bool:
        return bool((self._following(row, by) or 0) & RST)

    def _acknowledges(self, row: int, sender: int, code: int) -> Iterator[tuple[int, Event]]:
        peer, other = self.ends[1 - sender], 1 - sender
        if peer.syn_sent and not peer.syn_acked and code & ACKS_SYN and not code & SYN:
            peer.syn_acked = True
            if peer.state in (State.SYN_RECEIVED, State.SYN_SENT):
                yield other, Event.RCV_ACK_OF_SYN
        elif code & SYN and code & ACKS_SYN and peer.state is State.SYN_RECEIVED:  # simultaneous open
            peer.syn_acked = True
            yield other, Event.RCV_ACK_OF_SYN
        if peer.fin_sent and not peer.fin_acked and code & ACKS_FIN:
            if code & AFTER_FIN and not self._resends_fin(row, sender):
                yield from self._fin_before(sender)
            if not self._answers_something_older(row, other):
                peer.fin_acked = True
                yield other, Event.RCV_ACK_OF_FIN

    def _answers_something_older(self, row: int, end: int) -> bool:
        """Whether an end answers by a RST what came before an ACK of its FIN: it is gone before that ACK comes.

        A RST without ACK has the number of the ACK that it answers (RFC 9293 §3.10.7.1).
        """
        following = self._following(row, end) or 0
        return bool(following & RST and not following & (ACK | AFTER_FIN))

    def _acceptable_rst(self, row: int, sender: int) -> bool:
        """Whether the receiver takes a RST: in SYN-SENT by its ACK, otherwise by its place in the window.

        RFC 9293 §3.10.7.3 and §3.10.7.4. One that is in the window but not where the receiver expects the next byte is
        to be answered with a challenge ACK (RFC 5961 §3.2): such a one was not taken if the receiver goes on sending.
        """
        code, receiver = self.script[row], self.ends[1 - sender].state
        if receiver is State.SYN_SENT:
            return _acks_the_syn(code) or (self.one_way and bool(code & ACK))
        if receiver in (State.CLOSED, State.LISTEN) or not code & IN_WINDOW:
            return False
        if code & AT_NEXT and not self._goes_on(row, sender):
            return not self._sends_fin_later(row, 1 - sender)  # what else comes later may have been on its way
        return not self._goes_on(row, 1 - sender)

    def _sends_fin_later(self, row: int, end: int) -> bool:
        return self.ahead.next_fin[end][row + 1] != NEVER


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
