"""The questions of the handshake lab: each is answered from the student's own capture. 20 points.

Answers stand in answers.yaml, one line each: the name of the check without "test_", a colon, and the answer.
"""

import pytest

from harness.answers import Answer
from harness.tcp.conversation import Conversation, NotShown


@pytest.mark.points(2)
def test_initiator_isn(conversation: Conversation, answer: Answer) -> None:
    """What is the initiator's initial sequence number, as it stands on the wire?"""
    assert answer == conversation.initiator_stream.isn


@pytest.mark.points(2)
def test_responder_isn(conversation: Conversation, answer: Answer) -> None:
    """What is the responder's initial sequence number, as it stands on the wire?"""
    assert answer == conversation.responder_stream.isn


@pytest.mark.points(2)
def test_closer(conversation: Conversation, answer: Answer) -> None:
    """Which end closes first: initiator, responder, or both?"""
    assert answer == _closer(conversation)


@pytest.mark.points(2)
def test_kind_of_close(conversation: Conversation, answer: Answer) -> None:
    """What kind of close is it: four-segment, three-segment, or simultaneous?"""
    _closer(conversation)
    assert answer == conversation.close


@pytest.mark.points(3)
def test_relative_seq_of_the_initiators_fin(conversation: Conversation, answer: Answer) -> None:
    """Counted from the initiator's ISN as 0, which sequence number does the initiator's FIN itself occupy?"""
    stream = conversation.initiator_stream
    assert answer == stream.fin.end.distance_from(stream.isn) - 1


@pytest.mark.points(3)
def test_frame_that_acknowledges_the_first_byte(conversation: Conversation, answer: Answer) -> None:
    """Which frame is the first to acknowledge the first byte of data that the responder sent?"""
    stream = conversation.responder_stream
    first = stream.first_data
    acks = stream.acks_of(first.relative[0])
    for segment in acks:
        assert answer == segment.frame, f"the answer is {answer}, but frame {segment.frame} has ack {segment.ack}"
        return
    raise NotShown(f"the capture shows no ACK of frame {first.frame}")


@pytest.mark.points(3)
def test_window_scale_in_use(conversation: Conversation, answer: Answer) -> None:
    """By which factor are the responder's windows to be multiplied once the connection is open (RFC 7323 §2)?"""
    asked, offered = conversation.syn.options.window_scale, conversation.syn_ack.options.window_scale
    factor = 1 if asked is None or offered is None else 2**offered
    assert answer == factor, f"the answer is {answer}, but frame {conversation.syn_ack.frame} makes it {factor}"


@pytest.mark.points(3)
def test_holder_of_time_wait(conversation: Conversation, answer: Answer) -> None:
    """Which end is in TIME-WAIT when all is over: initiator, responder, or both (RFC 9293 §3.6)?"""
    _closer(conversation)
    holders = conversation.active_closers
    assert answer == ("both" if len(holders) > 1 else holders[0])


def _closer(conversation: Conversation) -> str:
    """Who closed first.

    Raises:
        NotShown: the capture shows no whole close.
    """
    for stream in conversation.streams:
        _ = stream.fin_ack
    if conversation.closer is None or not conversation.active_closers:
        raise NotShown("the capture shows no orderly close")
    return conversation.closer
