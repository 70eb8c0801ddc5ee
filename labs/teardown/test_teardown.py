"""The rubric of the teardown lab: a capture in which connections end in every way there is. 100 points.

Each check looks for a connection of its own kind among all that the capture holds, so that a capture made by hand is
judged as one of the harness's own scenes.
"""

import pytest

from harness.tcp.conversation import Conversation, NotShown, Segment, other

Conversations = tuple[Conversation, ...]


def fins(conversation: Conversation) -> tuple[Segment, Segment]:
    """Both FINs, the first one first.

    Raises:
        NotShown: the capture does not show both.
    """
    first, second = sorted((stream.fin for stream in conversation.streams), key=lambda fin: fin.row)
    return first, second


def sent_after_the_first_fin(conversation: Conversation) -> list[Segment]:
    """The data of the end that closes last, from where that end had heard of the other's FIN.

    Raises:
        NotShown: the capture does not show both FINs, or no ACK of the first.
    """
    first, second = fins(conversation)
    heard = conversation.stream(first.sender).fin_ack.row
    return [s for s in conversation.stream(second.sender).data if s.row >= heard and not s.has_fin]


def kind(conversation: Conversation) -> str:
    """The way in which a connection ended, in the words of this lab."""
    if conversation.open == "refused":
        return "refused SYN"
    if conversation.open != "three-way":
        return "connection without a handshake"
    if conversation.close == "reset":
        if any(segment.has_fin and not segment.has_rst for segment in conversation.segments):
            return "RST after a FIN"
        received = conversation.stream(other(conversation.resets[0].sender)).bytes
        return "RST by an end that had been sent data" if received else "RST by an end that had been sent no data"
    if conversation.close in ("four-segment", "three-segment"):
        try:
            return "data after the first FIN" if sent_after_the_first_fin(conversation) else conversation.close
        except NotShown:
            pass
    return conversation.close


def first(conversations: Conversations, wanted: str) -> Conversation:
    """The first connection that ended so.

    Raises:
        NotShown: the capture holds none.
    """
    for conversation in conversations:
        if kind(conversation) == wanted:
            return conversation
    raise NotShown(f"the capture shows no {wanted}{' close' if wanted.endswith(('segment', 'ous')) else ''}")


def assert_in_order(conversation: Conversation) -> None:
    """Every segment stands where its sender had got to, and acknowledges neither the unsent nor less than before."""
    for segment in conversation.segments:
        assert "U" not in segment.control, f"{segment} calls something urgent"
        assert segment.in_place, f"{segment} does not stand where the {segment.sender} had got to"
        if segment.has_rst or segment.control == "S":
            continue
        assert segment.has_ack, f"{segment} has the flag ACK off"
        sent, before = segment.highest_sent_by_peer, segment.acked_before
        assert sent is not None, f"{segment} acknowledges what nobody has sent"
        assert sent.distance_from(segment.ack) >= 0, f"{segment.ack.as_found()} is more than was sent: {sent}"
        late = before is None or segment.ack.distance_from(before) >= 0 or segment.offset < 0
        assert late, f"{segment.ack.as_found()} is less than the {segment.sender} had acknowledged before: {before}"
    illegal = [f"frame {conversation.at(step.row).frame}: {step.illegal}" for step in conversation.illegal]
    assert not illegal, ", ".join(illegal)


def assert_closed(conversation: Conversation) -> None:
    """Both FINs end their streams, each is acknowledged by its number, and with the last ACK all is over."""
    assert_in_order(conversation)
    assert not conversation.resets, f"{conversation.resets[0]} aborts what was to be closed"
    for stream in conversation.streams:
        fin, answer = stream.fin, stream.fin_ack
        assert fin.control == "F."
        assert answer.row > fin.row, f"{answer} acknowledges the FIN of frame {fin.frame} before it was sent"
        assert answer.ack == fin.end
        for later in stream.segments[stream.segments.index(fin) :]:
            assert later.relative[1] <= fin.relative[1], f"{later} comes behind the FIN of frame {fin.frame}"
    over = max(stream.fin_ack.row for stream in conversation.streams)
    assert conversation.at(over).control == "."
    asked_again = None
    for later in conversation.segments[over + 1 :]:
        answers = later.control == "." and asked_again == other(later.sender)
        assert later.repeats or answers or later.is_copy, f"{later} comes after the last ACK"
        asked_again = later.sender if later.repeats else None


def assert_reset(conversation: Conversation) -> None:
    """The RST stands where its sender had got to; there was no FIN, and nothing follows."""
    assert_in_order(conversation)
    rst = conversation.resets[0]
    assert rst.control in ("R", "R.")
    assert rst.seq == rst.expected_seq
    for segment in conversation.segments:
        assert not segment.has_fin, f"{segment} has the flag FIN"
        assert segment.row <= rst.row or segment.is_copy, f"{segment} comes after the RST of frame {rst.frame}"


@pytest.mark.points(14)
def test_four_segments(conversations: Conversations) -> None:
    """FIN, ACK, FIN, ACK: each FIN takes one number and is acknowledged by itself (RFC 9293 §3.6, figure 12)."""
    conversation = first(conversations, "four-segment")
    one, two = fins(conversation)
    answer = conversation.stream(one.sender).fin_ack
    assert_closed(conversation)
    assert answer.control == "."
    assert answer.row < two.row
    assert answer.seq == answer.expected_seq
    assert two.ack == one.end
    assert conversation.active_closers == (one.sender,)


@pytest.mark.points(14)
def test_three_segments(conversations: Conversations) -> None:
    """FIN, FIN with the ACK, ACK: the second closer's FIN is the first to acknowledge the other (RFC 9293 §3.6)."""
    conversation = first(conversations, "three-segment")
    one, two = fins(conversation)
    assert_closed(conversation)
    assert conversation.stream(one.sender).fin_ack.row == two.row
    assert two.ack == one.end
    assert conversation.active_closers == (one.sender,)


@pytest.mark.points(16)
def test_simultaneous_close(conversations: Conversations) -> None:
    """Both FINs cross: neither acknowledges the other, and both ends go through CLOSING (RFC 9293 §3.6, figure 13)."""
    conversation = first(conversations, "simultaneous")
    assert_closed(conversation)
    for stream in conversation.streams:
        assert stream.fin.ack == conversation.stream(other(stream.end)).fin.seq
        assert stream.fin_ack.control == "."
        assert "CLOSING" in [str(state) for state in conversation.states(stream.end)]
    assert len(conversation.active_closers) == 2


@pytest.mark.points(16)
def test_half_close(conversations: Conversations) -> None:
    """One end has closed, the other goes on sending, and all of that is acknowledged (RFC 9293 §3.6.1)."""
    conversation = first(conversations, "data after the first FIN")
    one, two = fins(conversation)
    assert_closed(conversation)
    for segment in sent_after_the_first_fin(conversation):
        assert segment.in_place
        assert segment.ack == one.end
    assert two.ack == one.end
    assert conversation.active_closers == (one.sender,)


@pytest.mark.points(13)
def test_abort(conversations: Conversations) -> None:
    """An end that aborts sends RST and no FIN; nobody acknowledges a RST (RFC 9293 §3.10.5)."""
    conversation = first(conversations, "RST by an end that had been sent no data")
    assert_reset(conversation)
    assert not conversation.stream(other(conversation.resets[0].sender)).data


@pytest.mark.points(13)
def test_unread_data(conversations: Conversations) -> None:
    """Who ends with data unread sends RST, not FIN: the data are lost, and that is to be known (RFC 2525 §2.17)."""
    conversation = first(conversations, "RST by an end that had been sent data")
    assert_reset(conversation)
    rst = conversation.resets[0]
    assert conversation.stream(other(rst.sender)).first_data.row < rst.row


@pytest.mark.points(14)
def test_closed_port(conversations: Conversations) -> None:
    """A SYN to a port where nobody listens is answered by RST and ACK of it (RFC 9293 §3.10.7.1)."""
    conversation = first(conversations, "refused SYN")
    rst = conversation.resets[0]
    assert conversation.syn.control == "S"
    assert rst.control == "R."
    assert rst.ack == conversation.syn.end
    assert rst.seq.value == 0, f"frame {rst.frame} seq is {rst.seq}, not 0"
    for segment in conversation.segments:
        expected = segment.row in (conversation.syn.row, rst.row) or segment.repeats or segment.is_copy
        assert expected, f"{segment} belongs to no refused connection"
