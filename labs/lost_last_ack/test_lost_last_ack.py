"""The rubric of the lab on the last ACK: it is lost, and the FIN that it acknowledged comes again. 100 points.

Each check looks for a connection of its own kind among all that the capture holds, so that a capture made by hand is
judged as one of the harness's own scenes.
"""

from itertools import pairwise
from typing import NamedTuple

import pytest

from harness.tcp.conversation import Conversation, NotShown, Segment, each_once

Conversations = tuple[Conversation, ...]

# No system in wide use waits less before it sends again: FreeBSD 30 ms (net.inet.tcp.rexmit_min), Linux 200 ms. A tail
# loss probe of a lone segment waits longer than the peer may delay its ACK (RFC 8985 §7.2), of several it may come
# earlier: Linux waits two ticks of its clock, 8 ms where that has 250 Hz.
SHORTEST_TIMEOUT = 30_000_000  # ns
SHORTEST_PROBE = 8_000_000  # ns
OBEDIENT_CLOSES = ("four-segment", "three-segment")


class Close(NamedTuple):
    """How a connection was closed by one end, and then by the other.

    Attributes:
        conversation: the connection.
        first: the FIN of the end that closed first.
        fins: the FIN of the other end, each time that it was sent.
        answers: what the end that closed first sent after the first of them.
    """

    conversation: Conversation
    first: Segment
    fins: tuple[Segment, ...]
    answers: tuple[Segment, ...]


def closes(conversations: Conversations) -> list[Close]:
    """Every connection that both ends closed."""
    found = []
    for conversation in conversations:
        segments = each_once(conversation.segments)
        first = next((segment for segment in segments if segment.has_fin), None)
        fins = tuple(s for s in segments if s.has_fin and first and s.sender != first.sender)
        if first and fins:
            answers = tuple(s for s in segments if s.sender == first.sender and s.row > fins[0].row)
            found.append(Close(conversation, first, fins, answers))
    return found


def answered(conversations: Conversations) -> Close:
    """The first whose last FIN had been acknowledged, and came again, and met no RST.

    Raises:
        NotShown: the capture holds none.
    """
    for close in closes(conversations):
        if any(close.fins[0].row < answer.row < close.fins[-1].row for answer in close.answers) and not any(
            answer.has_rst for answer in close.answers
        ):
            return close
    raise NotShown("the capture shows no FIN that was sent again though it had been acknowledged")


def refused(conversations: Conversations) -> Close:
    """The first whose last FIN was answered by RST.

    Raises:
        NotShown: the capture holds none.
    """
    for close in closes(conversations):
        if any(answer.has_rst for answer in close.answers):
            return close
    raise NotShown("the capture shows no FIN that was answered by RST")


@pytest.mark.points(5)
def test_it_opens(conversations: Conversations) -> None:
    """The connection begins as every other: SYN, SYN-ACK, ACK (RFC 9293 §3.5)."""
    conversation = answered(conversations).conversation
    assert conversation.open == "three-way"
    assert conversation.syn_ack.ack == conversation.syn.seq + 1
    assert conversation.handshake_ack.ack == conversation.syn_ack.seq + 1


@pytest.mark.points(12)
def test_it_closes(conversations: Conversations) -> None:
    """One end closes, then the other, and each FIN is acknowledged by its end (RFC 9293 §3.6, figure 12)."""
    conversation, first, fins, _ = answered(conversations)
    assert conversation.close in OBEDIENT_CLOSES, f"the close is {conversation.close!r}"
    assert first.control == "F."
    assert conversation.stream(first.sender).fin_ack.ack == first.end
    assert fins[0].control == "F."
    assert fins[0].ack == first.end
    assert conversation.stream(fins[0].sender).fin_ack.ack == fins[0].end
    assert conversation.active_closers == (first.sender,)


@pytest.mark.points(18)
def test_the_same_fin_again(conversations: Conversations) -> None:
    """An end whose FIN is not acknowledged sends it again, the same one: the same seq and end (RFC 9293 §3.8.1)."""
    _, first, fins, _ = answered(conversations)
    for fin in fins[1:]:
        assert fin.seq == fins[0].seq
        assert fin.end == fins[0].end
        assert fin.ack == first.end
        assert fin.control == "F."


@pytest.mark.points(14)
def test_after_a_timeout(conversations: Conversations) -> None:
    """It does so after its retransmission timeout, not before: on Linux that is 200 ms or more (RFC 6298 §5)."""
    conversation, _, fins, _ = answered(conversations)
    acked = [s.relative[2] or 0 for s in conversation.segments[: fins[0].row] if s.sender != fins[0].sender]
    alone = not fins[0].len and max(acked) >= fins[0].relative[0]
    least = SHORTEST_TIMEOUT if alone else SHORTEST_PROBE
    for before, fin in pairwise(fins):
        waited = fin.time - before.time
        assert waited >= least, f"frame {fin.frame} repeats what was sent {waited / 1e6:.3f} ms before"


@pytest.mark.points(18)
def test_each_fin_is_acknowledged(conversations: Conversations) -> None:
    """The end in TIME-WAIT answers the FIN as often as it comes, with the same ACK (RFC 9293 §3.10.7.4, fifth)."""
    _, first, fins, answers = answered(conversations)
    for fin, following in zip(fins, (*fins[1:], None), strict=True):
        own = [s for s in answers if s.row > fin.row and (following is None or s.row < following.row)]
        if not own and following is None:
            raise NotShown(f"the capture shows no ACK of the FIN of frame {fin.frame}")
        assert len(own) == 1, f"the FIN of frame {fin.frame} is answered by {len(own)} segments"
        assert own[0].control == "."
        assert own[0].len == 0
        assert own[0].seq == first.end
        assert own[0].ack == fin.end


@pytest.mark.points(10)
def test_nothing_else(conversations: Conversations) -> None:
    """Both ends have said all: after the last FIN there is nothing but that FIN and its ACK (RFC 9293 §3.6)."""
    conversation, first, fins, _ = answered(conversations)
    for segment in conversation.segments[fins[0].row + 1 :]:
        expected = "." if segment.sender == first.sender else "F."
        assert segment.control == expected
        assert segment.len == 0 or segment.len == fins[0].len


@pytest.mark.points(8)
def test_who_waits(conversations: Conversations) -> None:
    """Only now is the connection over: LAST-ACK becomes CLOSED, the other end stays in TIME-WAIT (figure 5)."""
    conversation, first, fins, _ = answered(conversations)
    last, waiting = ([str(s) for s in conversation.states(fin.sender)] for fin in (fins[0], first))
    assert last[-2:] == ["LAST-ACK", "CLOSED"]
    assert waiting[-1] == "TIME-WAIT"


@pytest.mark.points(10)
def test_without_time_wait(conversations: Conversations) -> None:
    """Where nobody waits any more the FIN is answered by RST: its seq is the FIN's ack (RFC 9293 §3.10.7.1)."""
    conversation, first, fins, answers = refused(conversations)
    rst = next(answer for answer in answers if answer.has_rst)
    fin = next(fin for fin in reversed(fins) if fin.row < rst.row)
    assert each_once(conversation.segments[fin.row : rst.row]) == [fin]
    assert fin.control == "F."
    assert fin.seq == fins[0].seq
    assert fin.end == fins[0].end
    assert fin.ack == first.end
    assert rst.control == "R"
    assert rst.seq == fin.ack
    assert rst.len == 0


@pytest.mark.points(5)
def test_refused_for_good(conversations: Conversations) -> None:
    """The RST ends it: nothing follows, and an end that had closed in order is told of an error (RFC 1337 §2)."""
    conversation, _, _, answers = refused(conversations)
    rst = next(answer for answer in answers if answer.has_rst)
    assert each_once(conversation.segments[rst.row :]) == [rst]
    assert conversation.close == "reset"
