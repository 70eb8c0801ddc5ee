"""The rubric of the lab on sequence numbers: what seq counts, and what ack names. 100 points.

What is said of every connection is asked of all that the capture shows whole: from both SYNs to the ACKs of both FINs,
with data, and without RST. The other checks look for a connection of their own kind among these, so that a capture made
by hand is judged as one of the harness's own scenes.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from harness.tcp.conversation import ENDS, Conversation, End, NotShown, Segment, Stream, other

Conversations = tuple[Conversation, ...]

CIRCLE = 1 << 32  # how many numbers there are (RFC 9293 §3.4)
WITHOUT_OPTION = 536  # bytes of data that any host takes in one segment (RFC 9293 §3.7.1)


class Answer(NamedTuple):
    """A data segment, and the first segment that acknowledges some of it."""

    data: Segment
    by: Segment


def whole(conversations: Conversations) -> list[Conversation]:
    """The connections that the capture shows from beginning to end.

    Raises:
        NotShown: there is none.
    """
    found = [
        one
        for one in conversations
        if all(one.numbers.isn_shown) and one.is_over and not one.resets and any(s.bytes for s in one.streams)
    ]
    if not found:
        raise NotShown("the capture shows no connection with data from its SYNs to the ACKs of both FINs")
    return found


def streams(conversations: Conversations) -> Iterator[tuple[Conversation, Stream]]:
    """Both streams of each of these connections."""
    for conversation in whole(conversations):
        for stream in conversation.streams:
            yield conversation, stream


def numbered(stream: Stream) -> list[Segment]:
    """The segments that take numbers (SYN, data, FIN): not in the order in which they came, but by their seq."""
    taken = [s for s in stream.segments if s.relative[1] > s.relative[0] and not s.is_keep_alive]
    return sorted(taken, key=lambda segment: segment.relative[:2])


def longest(conversation: Conversation) -> dict[End, int]:
    """How much data each end may send in one segment.

    A frame that holds more was captured before the network card cut it, or after it joined several.
    """
    found: dict[End, int] = {}
    for end in ENDS:
        syn = next(segment for segment in conversation.stream(end).segments if segment.has_syn)
        found[other(end)] = syn.options.mss or WITHOUT_OPTION
    return found


def answers(conversation: Conversation) -> Iterator[Answer]:
    """What was acknowledged by itself: nothing more had been sent, and there was room for all of it."""
    most = longest(conversation)
    last: dict[End, Segment] = {}  # until it is acknowledged
    for segment in conversation.segments:
        data = last.get(other(segment.sender))
        if data and (segment.relative[2] or 0) > data.relative[0]:
            del last[data.sender]
            if segment.window and segment.highest_sent_by_peer == data.end:
                yield Answer(data, segment)
        is_control = segment.has_syn or segment.has_fin or segment.is_keep_alive
        if 0 < segment.len <= most[segment.sender] and not is_control:
            last[segment.sender] = segment


def come_late(conversation: Conversation) -> Iterator[Answer]:
    """The data that their receiver was waiting for when it had been sent what comes behind them."""
    most = longest(conversation)
    said: dict[End, int] = {}
    late: list[Segment] = []
    for segment in conversation.segments:
        begin, _, ack = segment.relative
        if ack is not None:
            said[segment.sender] = ack
            for data in [one for one in late if one.sender != segment.sender and one.relative[0] < ack]:
                late.remove(data)
                yield Answer(data, segment)
        is_behind = 0 < segment.len <= most[segment.sender] and segment.offset < -segment.len
        if is_behind and not segment.is_copy and said.get(other(segment.sender)) == begin:
            late.append(segment)


def extents(segments: Iterable[Segment]) -> list[tuple[int, int]]:
    """Where the data of these are in their stream: each [begin, end) as long as it has no hole, in order."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted((s.relative[0] + s.has_syn, s.relative[1] - s.has_fin) for s in segments if s.len):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


class Ends:
    """Which numbers an ack may name: where a segment begins or ends that had been sent."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation, most = conversation, longest(conversation)
        several = [segment for segment in conversation.segments if segment.len > most[segment.sender]]
        self._cut = {end: extents(s for s in several if s.sender == end) for end in ENDS}

    def has(self, segment: Segment) -> bool:
        """Whether the ack of a segment is one; within a frame that holds several nobody sees them: any may be."""
        place, sender = segment.relative[2] or 0, other(segment.sender)
        if self._conversation.is_boundary(sender, place, before=segment.row):
            return place > 0
        cut = self._cut[sender]
        before = bisect_left(cut, (place, 0)) - 1
        return before >= 0 and place < cut[before][1]


def turn(stream: Stream) -> int:
    """The position of number 0 in a stream, counted from its SYN."""
    return CIRCLE - stream.isn.value


def wrapping(conversations: Conversations) -> tuple[Conversation, Stream]:
    """The first stream with data before the highest number there is, and with data that begin behind it.

    Raises:
        NotShown: there is none.
    """
    for conversation, stream in streams(conversations):
        behind = any(segment.relative[0] >= turn(stream) for segment in stream.data)
        if behind and 1 < turn(stream) < stream.fin.relative[1]:
            return conversation, stream
    raise NotShown(f"the capture shows no data whose numbers cross {CIRCLE}")


@pytest.mark.points(9)
def test_a_syn_takes_one_number(conversations: Conversations) -> None:
    """A SYN has one number, the ISN, and is acknowledged by ISN + 1, where the data begin (RFC 9293 §3.4, §3.5)."""
    for conversation in whole(conversations):
        syn, syn_ack, third = conversation.syn, conversation.syn_ack, conversation.handshake_ack
        for stream in conversation.streams:
            for segment in stream.segments:
                assert not segment.has_syn or segment.seq == stream.isn
        if syn.len:  # Fast Open: its data are acknowledged too, or sent again (RFC 7413 §2)
            assert 1 <= (syn_ack.relative[2] or 0) <= syn.relative[1], f"{syn_ack.ack.as_found()} is not within {syn}"
            continue
        assert syn_ack.ack == syn.seq + 1
        assert third.seq == syn.seq + 1
        assert third.ack == syn_ack.seq + 1


@pytest.mark.points(9)
def test_a_fin_takes_one_number(conversations: Conversations) -> None:
    """A FIN takes the number behind the last byte, and is acknowledged by that + 1; behind it there is none (§3.4)."""
    for _, stream in streams(conversations):
        fin = stream.fin
        assert stream.fin_ack.ack == fin.seq + (fin.len + 1)
        for segment in stream.segments:
            assert not segment.has_fin or segment.end == fin.end
            assert segment.relative[1] <= fin.relative[1], f"{segment} goes on behind the FIN of frame {fin.frame}"


@pytest.mark.points(14)
def test_each_byte_takes_one_number(conversations: Conversations) -> None:
    """Seq counts bytes, not packets: the next seq is seq + length, without a gap; an ACK alone takes none (§3.4)."""
    for conversation, stream in streams(conversations):
        before = None
        for segment in numbered(stream):
            if before is not None and segment.relative[0] > before.relative[1]:
                assert segment.seq == before.end
            if before is None or segment.relative[1] > before.relative[1]:
                before = segment
        places = {place for segment in numbered(stream) for place in segment.relative[:2]}
        for segment in stream.segments:
            if segment.len or segment.has_syn or segment.has_fin or segment.is_keep_alive:
                continue
            known = conversation.is_boundary(stream.end, segment.relative[0], before=segment.row)
            overtook = segment.offset > 0 and segment.relative[0] in places  # what was sent before it
            in_place = known or overtook
            assert in_place, f"{segment} takes a number though it is empty, or leaves one out"


@pytest.mark.points(14)
def test_ack_names_what_is_expected_next(conversations: Conversations) -> None:
    """Ack is the number behind all that has come: seq + length of data, never seq + 1 of several bytes (§3.4).

    It may name what lies behind several segments at once, or before some that have come already. It never names what
    has not been sent, nor, unless the window was full, the middle of a segment.
    """
    for conversation in whole(conversations):
        ends = Ends(conversation)
        for segment in conversation.segments:
            if segment.control == "S":
                continue
            assert segment.has_ack, f"{segment} has the flag ACK off: its ack says nothing"
            sent, said = segment.highest_sent_by_peer, segment.ack.as_found()
            assert sent is not None, f"{segment} acknowledges what nobody has sent"
            assert sent.distance_from(segment.ack) >= 0, f"{said}, but no more was sent than {sent.as_expected()}"
            known = not segment.window or ends.has(segment)
            assert known, f"{said} names the middle of a segment: ack is seq + its whole length"
            before, is_new = segment.acked_before, segment.end != segment.seq and segment.offset >= 0
            again = not is_new or before is None or segment.ack.distance_from(before) >= 0
            assert again, f"{said} is less than the {segment.sender} had acknowledged before: {before}"


@pytest.mark.points(8)
def test_one_byte_and_many(conversations: Conversations) -> None:
    """Of one byte the ack is seq + 1, of n bytes seq + n: "seq + 1" is no rule, but a length of 1 (§3.10.7.4)."""
    found = [answer for conversation in whole(conversations) for answer in answers(conversation)]
    lengths = {int(answer.data.len) for answer in found}
    for data, by in found:
        assert by.ack == data.seq + data.len
    if 1 not in lengths or lengths == {1}:
        raise NotShown("the capture does not show both one byte and several, each acknowledged before more was sent")


@pytest.mark.points(9)
def test_the_numbers_count_the_bytes(conversations: Conversations) -> None:
    """So the numbers tell how much was sent: the FIN's seq - ISN - 1 is the count of all bytes, each once (§3.4)."""
    for _, stream in streams(conversations):
        counted = sum(end - begin for begin, end in extents(numbered(stream)))
        fin = stream.fin
        assert fin.seq == stream.isn + (1 + counted - fin.len)


@pytest.mark.points(12)
def test_both_streams_are_whole(conversations: Conversations) -> None:
    """Put where its seq says, each byte has its place: none is missing, and no number has two bytes (§3.10.7.4)."""
    for _, stream in streams(conversations):
        for segment, place in stream.contradictions:
            pytest.fail(f"{segment} has another byte {place + 1} than was sent before under the same number")
        assert len(stream.content) == stream.bytes


@pytest.mark.points(9)
def test_what_comes_late_has_its_place(conversations: Conversations) -> None:
    """What was lost comes behind what was sent after it; its seq says that it belongs before (§3.4, §3.8.1).

    Until then ack names its first byte, however much has come behind it, and then jumps over all that has.
    """
    found = [answer for conversation in whole(conversations) for answer in come_late(conversation)]
    if not found:
        raise NotShown("the capture shows no data that were waited for when others behind them had been sent")
    for late, by in found:
        assert by.ack.distance_from(late.end) >= 0, f"{by.ack.as_found()} leaves some of {late} out"


@pytest.mark.points(6)
def test_seq_goes_round(conversations: Conversations) -> None:
    """There are 2^32 numbers: after 4294967295 comes 0, and the next seq is seq + length - 2^32 (§3.4)."""
    _, stream = wrapping(conversations)
    before = [segment for segment in numbered(stream) if segment.relative[0] < turn(stream)]
    over = max(before, key=lambda segment: segment.relative[1])
    beyond = next(segment for segment in numbered(stream) if segment.relative[0] >= turn(stream))
    assert beyond.seq == over.end
    assert beyond.seq.value < over.seq.value


@pytest.mark.points(5)
def test_ack_goes_round(conversations: Conversations) -> None:
    """Ack goes on over 0 too: the smaller number is the later one, and still seq + length of what has come (§3.4)."""
    conversation, stream = wrapping(conversations)
    peer = conversation.stream(other(stream.end)).segments
    before = [s for s in peer if s.has_ack and (s.relative[2] or 0) < turn(stream)]
    answer = next(stream.acks_of(turn(stream) - 1))
    assert before, f"{answer} is the first ACK"
    known = not answer.window or Ends(conversation).has(answer)
    assert known, f"{answer.ack.as_found()} is the end of nothing that was sent"
    assert answer.ack.value < before[-1].ack.value
    assert answer.ack.distance_from(before[-1].ack) > 0


@pytest.mark.points(5)
def test_zero_is_a_number(conversations: Conversations) -> None:
    """A SYN with the highest number is acknowledged by 0, with the flag ACK, and the first byte is number 0 (§3.4)."""
    for _, stream in streams(conversations):
        if turn(stream) == 1 and stream.bytes:
            syn, first = numbered(stream)[0], min(stream.data, key=lambda segment: segment.relative)
            assert first.seq == syn.seq + (0 if first.has_syn else 1)
            assert syn.len or next(stream.acks_of(0)).ack == syn.seq + 1
            return
    raise NotShown(f"the capture shows no connection with data whose ISN is {CIRCLE - 1}")
