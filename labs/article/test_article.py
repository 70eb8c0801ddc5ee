"""The rubric of the article's lab: a capture of a session that is typed into and closed, beside another. 100 points.

The lab's connection is the first to the ssh port of which the capture shows the SYN; its ports tell it from the other.
"""

from itertools import groupby, pairwise
from typing import NamedTuple

import pytest

from harness.tcp.conversation import ENDS, Conversation, NotShown, Segment

Conversations = tuple[Conversation, ...]

WORD = "exit\n"
SIX = 6  # as in the article's tcpdump -c 6
LONGEST_LINE = 255  # RFC 4253 §4.2
LEGAL_CLOSES = ("four-segment", "three-segment", "simultaneous")


class Key(NamedTuple):
    """A key that was typed.

    Attributes:
        sent: the initiator's segment with it.
        echo: the first data that came back.
    """

    sent: Segment
    echo: Segment


def first_fin(conversation: Conversation) -> Segment:
    """The FIN that begins the close.

    Raises:
        NotShown: there is none.
    """
    for segment in conversation.segments:
        if segment.has_fin:
            return segment
    raise NotShown("the capture shows no FIN of the session")


def typed_word(conversation: Conversation) -> tuple[Key, ...]:
    """The last keys that were typed, as many as `exit` and Enter are.

    A key is what the initiator sends in a segment of its own, and waits for data to answer it. All keys are of one
    length, whatever cipher there is, and nothing else in a session has one length so often but what newer versions of
    ssh send between the keys to hide them: that looks like a key in all. Keys need not stand side by side: either end
    may have asked meanwhile whether the other is still there.

    Raises:
        NotShown: the capture shows no such word.
    """
    # What comes again holds nothing new.
    data = [s for s in conversation.segments if s.len and s.offset + s.len > 0 and not s.has_rst]
    turns = [tuple(turn) for _, turn in groupby(data, key=lambda segment: segment.sender)]
    by_length: dict[int, list[Key]] = {}
    for own, answers in reversed(list(pairwise(turns))):
        key = Key(own[-1], answers[0])
        crossed = any(key.echo.ack == segment.seq for segment in own)  # the answer had left before the key arrived
        if key.sent.sender == "initiator" and not crossed:
            same = by_length.setdefault(int(key.sent.len), [])
            same.append(key)
            if len(same) == len(WORD):
                return tuple(reversed(same))
    raise NotShown(f"the capture shows no word of {len(WORD)} keys, each sent alone and answered")


def follows(segment: Segment) -> None:
    """A segment begins where its sender had got to, or comes again; and acknowledges no more than was sent."""
    if not (segment.in_place or segment.has_rst):
        assert segment.seq == segment.expected_seq
    sent = segment.highest_sent_by_peer
    if segment.has_ack and not segment.has_rst and sent is not None and segment.ack.distance_from(sent) > 0:
        assert segment.ack == sent


def other_sessions(conversation: Conversation, found: Conversations) -> list[Conversation]:
    """The other connections to the same port."""
    ends = (conversation.initiator, conversation.responder)
    port = conversation.rows.responder[1]
    return [one for one in found if one.rows.responder[1] == port and (one.initiator, one.responder) != ends]


@pytest.mark.points(10)
def test_another_session_beside_it(conversation: Conversation, conversations: Conversations) -> None:
    """Another ssh window talks to the same port: only addresses and ports of both ends name one (RFC 9293 §4)."""
    others = other_sessions(conversation, conversations)
    if not others:
        raise NotShown("the capture shows no other connection to the same port")
    first, last = conversation.segments[0].time, conversation.segments[-1].time
    assert any(
        segment.time >= first and segment.time <= last and segment.len for one in others for segment in one.segments
    ), "no other connection carries data while this one is open"


@pytest.mark.points(10)
def test_the_first_three(conversation: Conversation) -> None:
    """The first three segments are SYN, SYN-ACK and ACK, and nothing else stands between them (RFC 9293 §3.5)."""
    once = [segment for segment in conversation.segments if not segment.repeats]
    if len(once) < len(("SYN", "SYN-ACK", "ACK")):
        raise NotShown("the capture shows fewer than three segments")
    first, second, third, *_ = once
    assert (first.sender, second.sender, third.sender) == ("initiator", "responder", "initiator")
    assert first.control == "S"
    assert second.control == "S."
    assert third.control == "."


@pytest.mark.points(10)
def test_their_numbers(conversation: Conversation) -> None:
    """Each SYN takes one number: the ACKs name the ISN + 1 (RFC 9293 §3.4)."""
    syn, syn_ack, third = conversation.syn, conversation.syn_ack, conversation.handshake_ack
    assert syn_ack.ack == syn.seq + 1
    assert third.seq == syn.seq + 1
    assert third.ack == syn_ack.seq + 1


@pytest.mark.points(10)
def test_then_the_banners(conversation: Conversation) -> None:
    """Then both ends say in clear who they are, in one line of at most 255 bytes, in either order (RFC 4253 §4.2)."""
    for stream in conversation.streams:
        banner = stream.first_data
        assert banner.seq == stream.isn + 1
        assert banner.has_ack, f"{banner} has the flag ACK off"
        try:
            said = stream.content
        except NotShown:  # a listing: the length is all there is to see
            assert banner.len <= LONGEST_LINE, f"frame {banner.frame} holds {banner.len} bytes"
            continue
        before, name, after = said.partition(b"SSH-")
        # The end that is called may say something else first, in lines of its own.
        may_stand = not before or (before.endswith(b"\n") and stream.end == "responder")
        named = bool(name) and may_stand
        assert named, f"frame {banner.frame} begins with {said[:8]!r}, not with SSH-"
        length = len(name + after.partition(b"\n")[0]) + 1
        assert length <= LONGEST_LINE, f"the line that begins in frame {banner.frame} holds {length} bytes"


@pytest.mark.points(10)
def test_each_banner_is_acknowledged(conversation: Conversation) -> None:
    """The ack that answers a banner is its seq + its length: not seq + 1, as for a SYN (RFC 9293 §3.4)."""
    for stream in conversation.streams:
        banner = stream.first_data
        answer = next(stream.acks_of(banner.relative[0]), None)
        if answer is None:
            raise NotShown(f"the capture shows no ACK of frame {banner.frame}")
        # It may cover what was sent right behind the banner, too, but no part of a segment.
        covered = answer.relative[2] or 0
        more = covered > banner.relative[1] and conversation.is_boundary(stream.end, covered, before=answer.row)
        if not more:
            assert answer.ack == banner.end


@pytest.mark.points(15)
def test_each_key_is_echoed(conversation: Conversation) -> None:
    """A key is sent at once, alone, and what appears on the screen comes back from the far end (RFC 4254 §6.2)."""
    keys = typed_word(conversation)
    for key in keys:
        assert key.sent.has_ack, f"{key.sent} has the flag ACK off"
        assert key.echo.has_ack, f"{key.echo} has the flag ACK off"
        assert key.echo.ack == key.sent.end
        # A key may have left just before what the far end said last arrived.
        if not conversation.is_boundary("responder", key.sent.relative[2] or 0, before=key.sent.row):
            assert key.sent.ack == key.echo.seq
    until = next((segment.row for segment in conversation.segments if segment.has_fin), None)
    for segment in conversation.segments[keys[0].sent.row : until]:
        if not segment.is_keep_alive:
            follows(segment)


@pytest.mark.points(15)
def test_six_packets_end_before_the_close(conversation: Conversation) -> None:
    """Six packets from the first key of `exit` on hold no FIN: as in the article's second listing (tcpdump(1), -c)."""
    first, fin = typed_word(conversation)[0].sent, first_fin(conversation)
    place = fin.row - first.row + 1
    assert place > SIX, f"of the packets from frame {first.frame} on, the FIN of frame {fin.frame} is number {place}"


@pytest.mark.points(10)
def test_each_end_closes(conversation: Conversation) -> None:
    """Each end sends a FIN, which takes one number, and the other acknowledges it (RFC 9293 §3.6)."""
    for end in ENDS:
        stream = conversation.stream(end)
        assert stream.fin_ack.ack == stream.fin.end


@pytest.mark.points(10)
def test_the_close_in_order(conversation: Conversation) -> None:
    """From the first FIN on there are four segments, or three where the second FIN takes an ACK along (figure 12)."""
    fins = {stream.end: stream.fin for stream in conversation.streams}
    for segment in conversation.segments[first_fin(conversation).row :]:
        assert segment.control == ("F." if segment.has_fin else ".")
        follows(segment)
        fin = fins[segment.sender]
        if segment.len or segment.has_fin:
            beyond = segment.relative[1] - segment.has_fin - (fin.relative[1] - 1)
            assert beyond <= 0, f"{segment} goes {beyond} beyond the FIN of frame {fin.frame}"
    for fin in fins.values():
        before = fin.acked_before
        if before is not None and before.distance_from(fin.ack) > 0:
            assert fin.ack == before
    assert conversation.close in LEGAL_CLOSES, f"the close is {conversation.close!r}"
