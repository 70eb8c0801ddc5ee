"""The rubric of the lab on delayed SYNs: old ones arrive when nobody wants their connections any more. 100 points.

Each check looks for a connection of its own kind among all that the capture holds, so that a capture made by hand is
judged as one of the harness's own scenes. A SYN counts as old if its answer was refused by RST; the responder was
half-open if it sent that answer again.
"""

from itertools import pairwise

import pytest

from harness.tcp.conversation import TWICE, Conversation, NotShown, Segment, each_once

Conversations = tuple[Conversation, ...]

SHORTEST = 900_000_000  # ns; before anything was measured a timeout is 1 s or more (RFC 6298 §2.1); ticks are coarse
OBEDIENT_CLOSES = ("four-segment", "three-segment", "simultaneous")
NOTHING_YET = frozenset({"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED"})

each = pytest.mark.parametrize("half_open", [False, True], ids=["at-once", "half-open"])


def syns_of(conversation: Conversation) -> list[Segment]:
    """The initiator's SYNs."""
    return [one for one in each_once(conversation.segments) if one.sender == "initiator" and one.has_syn]


def answers_of(conversation: Conversation) -> list[Segment]:
    """The responder's SYN-ACKs."""
    return [
        one for one in each_once(conversation.segments) if one.sender == "responder" and one.has_syn and one.has_ack
    ]


def waits_of(conversation: Conversation) -> list[tuple[Segment, Segment]]:
    """Each SYN-ACK that came again, behind the one before it; not those that answer another SYN."""
    syns, answers = syns_of(conversation), answers_of(conversation)
    return [
        (before, answer)
        for before, answer in pairwise(answers)
        if not any(before.row < syn.row < answer.row for syn in syns)
        and (len(syns) == 1 or answer.time - before.time >= TWICE)
    ]


def refusals_of(conversation: Conversation) -> list[Segment]:
    """The initiator's RSTs after the first SYN-ACK."""
    answers = answers_of(conversation)
    return [
        one
        for one in each_once(conversation.segments)
        if one.sender == "initiator" and one.has_rst and answers and one.row > answers[0].row
    ]


def unwanted(conversations: Conversations, *, half_open: bool) -> Conversation:
    """The first whose SYN-ACK was refused by the initiator, which had acknowledged nothing; half-open or not.

    Raises:
        NotShown: the capture holds none.
    """
    for conversation in conversations:
        again = bool(waits_of(conversation))
        if conversation.open != "three-way" and refusals_of(conversation) and again == half_open:
            return conversation
    how = "sent again, and then refused" if half_open else "refused at once"
    raise NotShown(f"the capture shows no SYN-ACK that was {how}")


def wanted(conversations: Conversations) -> Conversation:
    """The first that was opened and carried data both ways; one that was closed goes before one that was not.

    Raises:
        NotShown: the capture holds none.
    """
    found = [one for one in conversations if one.open == "three-way" and all(stream.bytes for stream in one.streams)]
    if not found:
        raise NotShown("the capture shows no connection with data both ways")
    return min(found, key=lambda one: one.close not in OBEDIENT_CLOSES)


@pytest.mark.points(8)
def test_the_wanted_connection_opens(conversations: Conversations) -> None:
    """The connection that is wanted opens in three steps, and the third says that it is (RFC 9293 §3.5, figure 6)."""
    conversation = wanted(conversations)
    first, syn_ack, third = conversation.syn, conversation.syn_ack, conversation.handshake_ack
    assert first.control == "S"
    assert syn_ack.control == "S."
    assert syn_ack.ack == first.seq + 1
    assert third.control == "."
    assert third.seq == first.seq + 1
    assert third.ack == syn_ack.seq + 1


@pytest.mark.points(10)
def test_it_is_used_and_closed(conversations: Conversations) -> None:
    """It carries data both ways, nothing of it is missing, and it closes in order (RFC 9293 §3.6)."""
    conversation = wanted(conversations)
    for segment in conversation.segments:
        assert segment.in_place, f"{segment} does not stand where the {segment.sender} had got to"
    for stream in conversation.streams:
        assert stream.fin_ack.ack == stream.fin.end
    assert conversation.close in OBEDIENT_CLOSES, f"the close is {conversation.close!r}"


@pytest.mark.points(5)
@each
def test_the_old_syn_comes_when_that_is_over(conversations: Conversations, half_open: bool) -> None:
    """The old SYN comes from another port, when the wanted connection is over: nobody waits for its answer."""
    syn = unwanted(conversations, half_open=half_open).syn
    last = max((stream.fin_ack for stream in wanted(conversations).streams), key=lambda ack: ack.frame)
    assert last.frame < syn.frame, f"frame {syn.frame} comes before frame {last.frame}, the wanted connection's end"


@pytest.mark.points(3)
@each
def test_it_looks_like_any_other(conversations: Conversations, half_open: bool) -> None:
    """Nothing in a SYN tells how old it is; if it comes more than once, it is the same (RFC 9293 §3.5)."""
    conversation = unwanted(conversations, half_open=half_open)
    for syn in syns_of(conversation):
        assert syn.control == "S"
        assert syn.seq == conversation.syn.seq


@pytest.mark.points(8)
@each
def test_so_it_is_answered(conversations: Conversations, half_open: bool) -> None:
    """The responder cannot know, and answers it as every SYN: SYN-ACK, ack = its seq + 1 (RFC 9293 figure 8)."""
    conversation = unwanted(conversations, half_open=half_open)
    first, answer = conversation.syn, answers_of(conversation)[0]
    assert first.row < answer.row, f"{answer} comes before the SYN of frame {first.frame}"
    assert answer.control == "S."
    assert answer.ack == first.seq + 1


@pytest.mark.points(10)
@each
def test_the_answer_is_refused(conversations: Conversations, half_open: bool) -> None:
    """Who knows of no connection answers an ACK by RST: its seq is that ack, and it has none (RFC 9293 §3.10.7.1)."""
    conversation = unwanted(conversations, half_open=half_open)
    answer = answers_of(conversation)[0]
    for rst in refusals_of(conversation):
        assert rst.control == "R"
        assert rst.seq == answer.ack


@pytest.mark.points(4)
@each
def test_nothing_else_is_said(conversations: Conversations, half_open: bool) -> None:
    """No third step, no data: every RST has its answer before it, and the last word is a RST (RFC 9293 §3.5.2)."""
    segments, open_answers = each_once(unwanted(conversations, half_open=half_open).segments), 0
    for segment in segments:
        expected = ("S", "R") if segment.sender == "initiator" else ("S.",)
        assert segment.control in expected, f"{segment} belongs to no refused connection"
        assert segment.len == 0
        open_answers += {"S.": 1, "R": -1}.get(segment.control, 0)
        assert open_answers >= 0, f"{segment} refuses no answer"
    assert segments[-1].has_rst, f"{segments[-1]} is refused by nobody"


@pytest.mark.points(5)
@each
def test_nobody_is_established(conversations: Conversations, half_open: bool) -> None:
    """Without the third step the responder gets as far as SYN-RECEIVED, and back to LISTEN (RFC 9293 figure 5)."""
    conversation = unwanted(conversations, half_open=half_open)
    initiator, responder = ([str(state) for state in conversation.states(end)] for end in ("initiator", "responder"))
    assert {*initiator, *responder} <= NOTHING_YET, f"there were {initiator} and {responder}"
    assert "SYN-RECEIVED" in responder
    assert initiator[-1] == "CLOSED"
    assert responder[-1] in ("LISTEN", "CLOSED")


@pytest.mark.points(6)
def test_half_open_it_answers_again(conversations: Conversations) -> None:
    """While it hears nothing the responder sends its SYN-ACK again, the same one (RFC 9293 §3.8.1)."""
    for before, answer in waits_of(unwanted(conversations, half_open=True)):
        assert answer.control == "S."
        assert answer.seq == before.seq
        assert answer.ack == before.ack


@pytest.mark.points(6)
def test_after_a_timeout(conversations: Conversations) -> None:
    """It does so after a second or more: that long a lost RST lets it wait for nobody (RFC 6298 §2.1)."""
    for before, answer in waits_of(unwanted(conversations, half_open=True)):
        waited = answer.time - before.time
        assert waited >= SHORTEST, f"frame {answer.frame} comes {waited / 1e9:.3f} s after frame {before.frame}"
