"""The rubric of the lab on TIME-WAIT: who closes first stays in it, both if they close at once. 100 points.

Each check looks for a connection of its own kind among all that the capture holds, so that a capture made by hand is
judged as one of the harness's own scenes. A connection whose ports were used again belongs to the last checks only.
"""

from itertools import pairwise
from typing import NamedTuple

import pytest

from harness.tcp.conversation import ENDS, Conversation, End, NotShown, Segment, Stream, other
from harness.tcp.values import signed_difference

Conversations = tuple[Conversation, ...]

ONE_AFTER_THE_OTHER = ("four-segment", "three-segment")
CLOSES = (*ONE_AFTER_THE_OTHER, "simultaneous")
# RFC 9293 §3.4.2 takes 2 minutes for MSL, "an engineering choice"; no system in wide use stays less than a minute:
# Linux 60 s (TCP_TIMEWAIT_LEN), FreeBSD twice its net.inet.tcp.msl of 30 s.
STAYS = 60_000_000_000  # ns

either = pytest.mark.parametrize("closer", ENDS)
any_closer = pytest.mark.parametrize("closer", [*ENDS, "both"])


class Reopened(NamedTuple):
    """A connection whose ports were used again while one end of it stayed in TIME-WAIT.

    Attributes:
        old: the first.
        new: the second.
        waiting: the end of the old one that stayed.
        in_new: which end of the new one that is.
    """

    old: Conversation
    new: Conversation
    waiting: End
    in_new: End


def by_ports(conversations: Conversations) -> list[list[Conversation]]:
    """The connections that have the same addresses and ports, one after another."""
    found: dict[frozenset[str], list[Conversation]] = {}
    for one in conversations:
        found.setdefault(frozenset((one.initiator, one.responder)), []).append(one)
    return list(found.values())


def closed(conversations: Conversations, closer: str) -> Conversation:
    """The first that was closed so, and opened once.

    Raises:
        NotShown: the capture holds none.
    """
    for one, *again in by_ports(conversations):
        if not again and one.open == "three-way" and one.close in CLOSES and one.closer == closer:
            return one
    how = "at once by both ends" if closer == "both" else f"first by the {closer}, then by the other end"
    raise NotShown(f"the capture shows no connection, opened once, that was closed {how}")


def last_ack(conversation: Conversation) -> Segment:
    """The segment with which both FINs are acknowledged.

    Raises:
        NotShown: the capture does not show that.
    """
    return max((stream.fin_ack for stream in conversation.streams), key=lambda answer: answer.row)


def reopened(conversations: Conversations) -> Reopened:
    """The first connection that was closed by one end, and opened again within a minute.

    Raises:
        NotShown: the capture holds none.
    """
    for old, new in (pair for lives in by_ports(conversations) for pair in pairwise(lives)):
        if old.close in ONE_AFTER_THE_OTHER and new.syn.time - last_ack(old).time < STAYS:
            (waiting,) = old.active_closers
            in_new = waiting if old.initiator == new.initiator else other(waiting)
            return Reopened(old, new, waiting, in_new)
    raise NotShown("the capture shows no connection that was opened again from its old ports within a minute")


def assert_reasonable(segment: Segment) -> None:
    """It stands where its sender had got to, and acknowledges neither the unsent nor less than before."""
    assert segment.in_place, f"{segment} does not stand where the {segment.sender} had got to"
    sent, before = segment.highest_sent_by_peer, segment.acked_before
    assert sent is not None, f"{segment} acknowledges what nobody has sent"
    assert sent.distance_from(segment.ack) >= 0, f"{segment.ack.as_found()} is more than was sent: {sent}"
    grows = before is None or segment.ack.distance_from(before) >= 0 or segment.offset < 0
    assert grows, f"{segment.ack.as_found()} is less than the {segment.sender} had acknowledged before: {before}"


def assert_fin(stream: Stream) -> None:
    """Its FIN takes the number behind its last byte, and nothing else."""
    fin = stream.fin
    assert fin.control == "F."
    assert_reasonable(fin)
    assert fin.relative[1] == stream.bytes + 2, f"{fin} does not follow the {stream.end}'s last byte, {stream.bytes}"


def assert_first_fin(conversation: Conversation, closer: End) -> None:
    """One end closes, and the other hears of that before it closes too."""
    first, second = conversation.stream(closer), conversation.stream(other(closer))
    assert_fin(first)
    assert first.fin_ack.row > first.fin.row
    assert first.fin_ack.ack == first.fin.end
    assert second.fin.row >= first.fin_ack.row
    assert conversation.active_closers == (closer,)


def assert_last_ack(conversation: Conversation, closer: End) -> None:
    """The other end closes, and the one that closed first acknowledges it."""
    first, second = conversation.stream(closer), conversation.stream(other(closer))
    assert_fin(second)
    assert second.fin.ack == first.fin.end
    answer = last_ack(conversation)
    assert answer.sender == closer
    assert answer.control == "."
    assert answer.len == 0
    assert answer.seq == first.fin.end
    assert answer.ack == second.fin.end


def assert_nothing_else(conversation: Conversation) -> None:
    """From the first FIN on all is in order; when all is acknowledged a FIN may come again, and be answered."""
    begin, over = min(stream.fin.row for stream in conversation.streams), last_ack(conversation)
    asked: End | None = None
    for segment in conversation.segments[begin:]:
        assert segment.control in (".", "F."), f"{segment} belongs to no close"
        assert_reasonable(segment)
        answers = segment.control == "." and not segment.len and asked == other(segment.sender)
        expected = segment.row <= over.row or segment.repeats or answers or segment.is_copy
        assert expected, f"{segment} comes after the last ACK, frame {over.frame}"
        asked = segment.sender if segment.repeats else None


@pytest.mark.points(7)
@either
def test_who_closes_first(conversations: Conversations, closer: End) -> None:
    """The end that sends the first FIN is the active closer; the other hears of it, then closes too (RFC 9293 §3.6)."""
    assert_first_fin(closed(conversations, closer), closer)


@pytest.mark.points(9)
@either
def test_it_acknowledges_last(conversations: Conversations, closer: End) -> None:
    """The last word is an ACK by the end that closed first; nothing acknowledges that (RFC 9293 §3.6, figure 12)."""
    assert_last_ack(closed(conversations, closer), closer)


@pytest.mark.points(7)
@any_closer
def test_who_waits(conversations: Conversations, closer: End | str) -> None:
    """So who closed first ends in TIME-WAIT, and the other in CLOSED; both wait if they closed at once (figure 5)."""
    conversation = closed(conversations, closer)
    for end in ENDS:
        states = [str(state) for state in conversation.states(end)]
        if closer == "both":
            assert states[-2:] == ["CLOSING", "TIME-WAIT"]
        elif closer == end:
            assert states[-1] == "TIME-WAIT"
        else:
            assert states[-2:] == ["LAST-ACK", "CLOSED"]


@pytest.mark.points(4)
@any_closer
def test_nothing_else(conversations: Conversations, closer: End | str) -> None:
    """TIME-WAIT is silent: it answers the FIN should that come again, and has nothing else to say (RFC 9293 §3.6)."""
    assert_nothing_else(closed(conversations, closer))


@pytest.mark.points(9)
def test_both_at_once(conversations: Conversations) -> None:
    """Both FINs cross on the way: each was sent before the other came, and is acknowledged later (§3.6, figure 13)."""
    conversation = closed(conversations, "both")
    for stream in conversation.streams:
        fin, answer = stream.fin, stream.fin_ack
        assert_fin(stream)
        assert answer.control == "."
        assert answer.len == 0
        assert answer.row > fin.row
        assert answer.ack == fin.end
        assert answer.seq == conversation.stream(answer.sender).fin.end
    assert conversation.active_closers == ENDS


@pytest.mark.points(5)
def test_the_same_ports_again(conversations: Conversations) -> None:
    """TIME-WAIT may be cut short: the old connection is over in order, then its ports open anew (RFC 9293 §3.6.1)."""
    old, new, waiting, _ = reopened(conversations)
    assert old.open == "three-way"
    assert_first_fin(old, waiting)
    assert_last_ack(old, waiting)
    assert_nothing_else(old)
    assert new.syn.control == "S"


@pytest.mark.points(9)
def test_beyond_the_old_numbers(conversations: Conversations) -> None:
    """The end that waited remembers: its new ISN lies beyond all that it sent before (RFC 9293 §3.6.1)."""
    old, new, waiting, in_new = reopened(conversations)
    fin, isn = old.stream(waiting).fin, new.stream(in_new).isn
    beyond = isn.distance_from(fin.end)
    assert beyond >= 0, f"{isn.as_found()} is not beyond the FIN's {fin.end.as_found()}"


@pytest.mark.points(6)
def test_new_beyond_doubt(conversations: Conversations) -> None:
    """The SYN cannot be an old one: its ISN is beyond the old numbers, or its TSval is later (RFC 6191 §2)."""
    old, new, _, _ = reopened(conversations)
    syn = new.syn
    sender: End = "initiator" if old.initiator == new.initiator else "responder"
    sent = old.stream(sender).segments
    last = max(sent, key=lambda segment: segment.relative[1])
    clocks = [segment.options.timestamps for segment in sent]
    shown, now = [both[0] for both in clocks if both], syn.options.timestamps
    later = signed_difference(now[0], shown[-1]) if now and shown else 0
    assert later >= 0, f"frame {syn.frame} has TSval {now and now[0]}, but {shown[-1]} was told before"
    assert later > 0 or syn.seq.distance_from(last.end) >= 0, f"{syn.seq.as_found()} may be of the old connection"


@pytest.mark.points(6)
def test_it_opens_anew(conversations: Conversations) -> None:
    """It is taken for what it is: a handshake as ever, with numbers of the new connection only (RFC 9293 §3.5)."""
    new = reopened(conversations).new
    first, syn_ack, third = new.syn, new.syn_ack, new.handshake_ack
    assert new.open == "three-way"
    assert first.row < syn_ack.row
    assert syn_ack.control == "S."
    assert syn_ack.ack == first.seq + 1
    assert third.control == "."
    assert third.seq == first.seq + 1
    assert third.ack == syn_ack.seq + 1
