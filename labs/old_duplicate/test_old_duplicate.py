"""The rubric of the lab on old duplicates: two come to an end in TIME-WAIT, and then a SYN that is new. 100 points.

Each check looks for a connection of its own kind among all that the capture holds, so that a capture made by hand is
judged as one of the harness's own scenes. A segment counts as an old duplicate if it comes when both FINs have been
acknowledged. How long TIME-WAIT lasts after that is asked nowhere: a RST may take it away, or not (RFC 1337).
"""

from typing import NamedTuple

import pytest

from harness.tcp.conversation import ENDS, Conversation, End, NotShown, Segment, each_once, other
from harness.tcp.values import signed_difference

Conversations = tuple[Conversation, ...]

TIME_WAIT = 60_000_000_000  # ns; so long Linux and FreeBSD stay in it, others longer (RFC 9293 §3.4.2: 4 minutes)
OBEDIENT_CLOSES = ("four-segment", "three-segment", "simultaneous")

KINDS = ("data", "SYN")

each = pytest.mark.parametrize("kind", KINDS)


class Late(NamedTuple):
    """An old duplicate, and what came of it.

    Attributes:
        conversation: its connection.
        old: the duplicate.
        following: what follows it; up to the next duplicate, if there is one.
    """

    conversation: Conversation
    old: Segment
    following: tuple[Segment, ...]

    @property
    def answers(self) -> list[Segment]:
        """What of that the end sent that the duplicate came to."""
        return [one for one in self.following if one.sender == self.receiver]

    @property
    def refusals(self) -> list[Segment]:
        """What of that the other end sent."""
        return [one for one in self.following if one.sender == self.sender]

    @property
    def sender(self) -> End:
        """The end that had sent it."""
        return self.old.sender

    @property
    def receiver(self) -> End:
        """The end that it came to."""
        return other(self.old.sender)


class Again(NamedTuple):
    """Two connections of the same ports, one after the other."""

    before: Conversation
    after: Conversation

    @property
    def opener(self) -> End:
        """Which end of the first connection opened the second."""
        return "initiator" if self.before.initiator == self.after.initiator else "responder"


def closed(conversation: Conversation) -> Segment | None:
    """The segment with which both FINs were acknowledged, if they were."""
    try:
        return max((stream.fin_ack for stream in conversation.streams), key=lambda ack: ack.row)
    except NotShown:
        return None


def is_old(conversation: Conversation, segment: Segment, kind: str) -> bool:
    """Whether a segment that comes after the close is old data, or the SYN with which the connection began."""
    if kind == "SYN":
        return segment.has_syn and not segment.has_ack and segment.seq == conversation.syn.seq
    return segment.len > 0 and not (segment.has_syn or segment.has_fin or segment.has_rst)


def is_again(conversation: Conversation, segment: Segment, old: Segment) -> bool:
    """Whether a segment is one more duplicate from the same end; what becomes of that is asked nowhere."""
    return segment.sender == old.sender and any(is_old(conversation, segment, kind) for kind in KINDS)


def late(conversations: Conversations, kind: str) -> Late:
    """The first old duplicate of that kind.

    Raises:
        NotShown: the capture holds none.
    """
    for conversation in conversations:
        end = closed(conversation)
        following = [one for one in each_once(conversation.segments) if end and one.row > end.row]
        for place, old in enumerate(following):
            if is_old(conversation, old, kind):
                later = (n for n, one in enumerate(following) if n > place and is_again(conversation, one, old))
                return Late(conversation, old, tuple(following[place + 1 : next(later, None)]))
    raise NotShown(f"the capture shows no {kind} of a connection that was closed before")


def answer_of(found: Late) -> Segment:
    """What the duplicate was answered by.

    Raises:
        NotShown: nothing.
    """
    if not found.answers:
        raise NotShown(f"the capture shows no answer to frame {found.old.frame}, which is old")
    return found.answers[0]


def refusal_of(found: Late) -> Segment:
    """What the other end said to that.

    Raises:
        NotShown: nothing.
    """
    if not found.refusals:
        raise NotShown(f"the capture shows nothing that the {found.sender} sent after frame {found.old.frame}")
    return found.refusals[0]


def again(conversations: Conversations) -> Again:
    """The first closed connection whose ports were used for another.

    Raises:
        NotShown: the capture holds none.
    """
    for place, after in enumerate(conversations):
        for before in reversed(conversations[:place]):
            if {before.initiator, before.responder} == {after.initiator, after.responder}:
                if closed(before):
                    return Again(before, after)
                break
    raise NotShown("the capture shows no closed connection whose ports were used again")


@pytest.mark.points(3)
@each
def test_who_closed_first_waits(conversations: Conversations, kind: str) -> None:
    """The connection is closed in order; who began that is in TIME-WAIT, the other end in CLOSED (RFC 9293 §3.6)."""
    found = late(conversations, kind)
    conversation, old = found.conversation, found.old
    assert conversation.open == "three-way"
    assert conversation.close in OBEDIENT_CLOSES, f"the close is {conversation.close!r}"
    for stream in conversation.streams:
        assert stream.fin.control == "F."
        assert stream.fin_ack.ack == stream.fin.end
    states = dict(zip(ENDS, map(str, conversation.states_by_row[old.row - 1]), strict=True))
    assert states[found.receiver] == "TIME-WAIT", f"the {found.receiver} is in {states[found.receiver]}"
    assert states[found.sender] == "CLOSED", f"the {found.sender} is in {states[found.sender]}"


@pytest.mark.points(8)
def test_old_data(conversations: Conversations) -> None:
    """The old data had been sent before, and acknowledged: its numbers are used up (RFC 9293 §3.4)."""
    conversation, old, _ = late(conversations, "data")
    sent = [one for one in conversation.segments[: old.row] if one.sender == old.sender and one.seq == old.seq]
    before = next((one for one in sent if one.len == old.len), None)
    assert before, f"{old} had not been sent before"
    assert old.control == before.control
    assert old.ack == before.ack


@pytest.mark.points(6)
def test_old_syn(conversations: Conversations) -> None:
    """The old SYN is the one with which the connection began: the same ports, the same number (RFC 9293 §3.5)."""
    conversation, old, _ = late(conversations, "SYN")
    assert old.control == "S"
    assert old.sender == "initiator"
    assert old.len == conversation.syn.len


@pytest.mark.points(9)
@each
def test_time_wait_answers(conversations: Conversations, kind: str) -> None:
    """Its number is no news: it is answered by an ACK of what is expected, that is nothing more (RFC 9293 §3.10.7.4).

    Of a SYN RFC 5961 §4 says the same: the answer asks whether its sender means it.
    """
    found = late(conversations, kind)
    answer = answer_of(found)
    assert answer.control == "."
    assert answer.len == 0
    assert answer.seq == found.conversation.stream(found.receiver).fin.end
    assert answer.ack == found.conversation.stream(found.sender).fin.end


@pytest.mark.points(4)
@each
def test_nothing_is_taken(conversations: Conversations, kind: str) -> None:
    """Nothing of it goes to anybody: no ACK goes beyond the old FIN, no SYN-ACK opens anything (RFC 9293 §3.6.1)."""
    found = late(conversations, kind)
    answer_of(found)
    for segment in found.answers:
        assert not segment.has_syn, f"{segment} takes the old SYN for a new one"
        assert segment.ack == found.conversation.stream(found.sender).fin.end


@pytest.mark.points(7)
@each
def test_the_other_end_knows_nothing(conversations: Conversations, kind: str) -> None:
    """Who closed last has forgotten all, and refuses the ACK by RST: its seq is that ack (RFC 9293 §3.10.7.1)."""
    found = late(conversations, kind)
    rst = refusal_of(found)
    assert rst.control == "R"
    assert rst.len == 0
    assert rst.seq == answer_of(found).ack


@pytest.mark.points(3)
@each
def test_that_is_all(conversations: Conversations, kind: str) -> None:
    """Nothing else is said of it: an old segment, one ACK, one RST (RFC 1337 §2)."""
    found = late(conversations, kind)
    assert answer_of(found).row < refusal_of(found).row
    assert not found.following[2:], f"{found.following[2]} is one too many"


@pytest.mark.points(8)
def test_a_newer_syn(conversations: Conversations) -> None:
    """A SYN of the same ports, to the end in TIME-WAIT, is newer: by its seq, or by its timestamp (RFC 6191 §2)."""
    before, after = pair = again(conversations)
    old, syn, end = before.stream(pair.opener), after.syn, closed(before)
    assert syn.control == "S"
    assert "TIME-WAIT" in [str(state) for state in before.states(other(pair.opener))]
    assert end
    assert syn.time - end.time < TIME_WAIT, f"frame {syn.frame} comes when TIME-WAIT is over"
    if syn.seq.distance_from(old.fin.end) < 0:
        told = [one.options.timestamps[0] for one in (*old.segments, syn) if one.options.timestamps]
        later = syn.options.timestamps and len(told) > 1 and signed_difference(told[-1], told[-2]) > 0
        assert later, f"{syn.seq.as_found()} is older than {old.fin.end.as_expected()}, and not later by its timestamp"


@pytest.mark.points(8)
def test_it_is_accepted(conversations: Conversations) -> None:
    """It is accepted though 2 MSL are not over: SYN-ACK, which acknowledges the new SYN (RFC 9293 §3.6.1, MAY-2)."""
    _, after = again(conversations)
    assert after.syn_ack.control == "S."
    assert after.syn_ack.ack == after.syn.seq + 1
    assert after.syn_ack.row > after.syn.row, f"{after.syn_ack} comes before the SYN of frame {after.syn.frame}"


@pytest.mark.points(10)
def test_with_a_number_beyond_the_old(conversations: Conversations) -> None:
    """The new ISN is larger than any number of before, so that no old ACK fits (RFC 1122 §4.2.2.13, condition 1)."""
    before, after = pair = again(conversations)
    isn, last = after.syn_ack.seq, before.stream(other(pair.opener)).fin.end
    assert isn.distance_from(last) >= 0, f"{isn.as_found()} is not beyond {last.as_expected()}"


@pytest.mark.points(8)
def test_a_connection_of_its_own(conversations: Conversations) -> None:
    """The new connection opens in three steps, carries data, and counts from its own numbers on (RFC 9293 §3.5)."""
    _, after = again(conversations)
    third = after.handshake_ack
    assert after.open == "three-way"
    assert third.control == "."
    assert third.seq == after.syn.seq + 1
    assert third.ack == after.syn_ack.seq + 1
    for stream in after.streams:
        assert stream.first_data.seq == stream.isn + 1
        acks = [one.ack for one in stream.acks_of(stream.first_data.relative[0])]
        assert acks, f"nobody acknowledges the data of frame {stream.first_data.frame}"
    for segment in after.segments[1:]:
        sent, before = segment.highest_sent_by_peer, segment.acked_before
        assert segment.in_place, f"{segment} does not stand where the {segment.sender} had got to"
        if segment.control == "S" or segment.has_rst:
            continue
        assert segment.has_ack, f"{segment} has the flag ACK off"
        assert sent, f"{segment} acknowledges what nobody has sent"
        assert sent.distance_from(segment.ack) >= 0, f"{segment.ack.as_found()} is more than was sent: {sent}"
        late = before is None or segment.ack.distance_from(before) >= 0 or segment.offset < 0
        assert late, f"{segment.ack.as_found()} is less than was acknowledged before: {before}"
