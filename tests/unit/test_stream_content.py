"""A stream put together from its segments by nothing but their numbers."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.captures.reading import read_capture
from harness.tcp.conversation import Conversation, NotShown, conversations
from harness.tcp.flags import ACK, FIN, PSH, RST, SYN
from harness.tcp.reassembly import Contradiction, Piece, reassembled
from tests.pcaps import Frame, encode

SERVER, CLIENT = 0xC0A8013F, 0xC0A80140
Pieces = list[tuple[int, bytes]]


def frame(  # noqa: PLR0913
    number: int, position: int, flags: int, data: bytes = b"", *, isn: int = 1000, back: bool = False
) -> Frame:
    """The server's segment at a position of its stream, the SYN being at 0; or the client's."""
    src, dst, sport, dport = (CLIENT, SERVER, 22, 40000) if back else (SERVER, CLIENT, 40000, 22)
    seq, ack = (5000 + position, isn + 1) if back else (isn + position, 5001 if flags & ACK else 0)
    time = 1_700_000_000_000_000_000 + number * 1_000_000
    return Frame(time, src, dst, sport, dport, seq, ack, flags, 502, b"", data, ip_id=number)


def conversation(
    pieces: Pieces, *, isn: int = 1000, fin: int | None = None, syn: bool = True, cut: bool = False
) -> Conversation:
    """One whose initiator sends these bytes at these places of its stream, from 0."""
    frames = [frame(0, 0, SYN, isn=isn)] if syn else []
    frames.append(frame(1, 0, SYN | ACK, isn=isn, back=True))
    frames += [frame(n, 1 + begin, ACK | PSH, data, isn=isn) for n, (begin, data) in enumerate(pieces, 2)]
    if fin is not None:
        frames.append(frame(len(frames), 1 + fin, ACK | FIN, isn=isn))
    (found,) = conversations(read_capture(encode(frames, snaplen=56 if cut else 262144), "made").segments)
    return found


@st.composite
def sent(draw: st.DrawFn) -> tuple[bytes, Pieces]:
    """Some bytes, and segments of them: any splits, more than once, repeated in other pieces, in any order."""
    content = draw(st.binary(min_size=1, max_size=300))
    cuts = sorted(draw(st.sets(st.integers(1, len(content)), max_size=8)) | {0, len(content)})
    pieces = [(begin, content[begin:end]) for begin, end in pairwise(cuts)]
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(content) - 1))
        pieces.append((begin, content[begin : draw(st.integers(begin + 1, len(content)))]))
    return content, draw(st.permutations(pieces))


@given(sent(), st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 310, 2**32 - 1)), st.booleans())
def test_any_segments_give_back_the_bytes(made: tuple[bytes, Pieces], isn: int, closed: bool) -> None:
    """Whatever the splits, the order, the repetitions and the ISN, also where the numbers wrap."""
    content, pieces = made
    stream = conversation(pieces, isn=isn, fin=len(content) if closed else None).initiator_stream
    assert stream.content == content
    assert stream.contradictions == ()


@given(sent(), st.data())
def test_a_missing_byte_is_told(made: tuple[bytes, Pieces], data: st.DataObject) -> None:
    content, pieces = made
    lost = data.draw(st.integers(0, len(content) - 1))
    parts = [(begin, piece) for begin, piece in pieces if not begin <= lost < begin + len(piece)]
    stream = conversation(parts, fin=len(content)).initiator_stream
    with pytest.raises(NotShown, match=r"does not show bytes \d+ to \d+ of the initiator") as raised:
        _ = stream.content
    first, last = (int(word) for word in str(raised.value).split() if word.isdigit())
    shown = {place for begin, piece in parts for place in range(begin, begin + len(piece))}
    assert first - 1 == min(set(range(len(content))) - shown)
    assert shown.isdisjoint(range(first - 1, last))


@given(sent(), st.data())
def test_what_contradicts_is_told_and_changes_nothing(made: tuple[bytes, Pieces], data: st.DataObject) -> None:
    """What came first stays; which segment says otherwise, and where in the stream."""
    content, pieces = made
    begin = data.draw(st.integers(0, len(content) - 1))
    wrong = bytearray(content[begin : begin + data.draw(st.integers(2, 50))])
    place = data.draw(st.integers(0, len(wrong) - 1))
    wrong[place] ^= 1
    wrong += b"!" * (2 - len(wrong))  # one byte alone might be a keep-alive
    stream = conversation([*pieces, (begin, bytes(wrong))], isn=2**32 - 100).initiator_stream
    assert stream.content[: len(content)] == content
    ((segment, position),) = stream.contradictions
    assert (segment.row, position) == (len(pieces) + 2, begin + place)


def test_what_is_no_data_counts_for_nothing() -> None:
    """The payload of a RST, the byte of a keep-alive, an ACK alone."""
    frames = [
        frame(0, 0, SYN),
        frame(1, 0, SYN | ACK, back=True),
        frame(2, 1, ACK | PSH, b"abc"),
        frame(3, 3, ACK, b"\0"),
        frame(4, 4, ACK),
        frame(5, 4, ACK | RST, b"no such user"),
    ]
    (found,) = conversations(read_capture(encode(frames), "made").segments)
    assert found.at(3).is_keep_alive
    assert found.initiator_stream.content == b"abc"
    assert found.initiator_stream.contradictions == ()
    assert [begin for _, begin in found.initiator_stream.pieces] == [0]
    assert found.responder_stream.content == b""


def test_a_syn_may_carry_the_first_bytes() -> None:
    """Fast Open: the data begin behind the number of the SYN (RFC 7413 §2), and may come again without it."""
    frames = [
        frame(0, 0, SYN, b"GET /"),
        frame(1, 0, SYN | ACK, back=True),
        frame(2, 1, ACK | PSH, b"GET /"),
        frame(3, 6, ACK | PSH | FIN, b" HTTP"),
    ]
    (found,) = conversations(read_capture(encode(frames), "made").segments)
    assert found.initiator_stream.content == b"GET / HTTP"
    assert found.initiator_stream.contradictions == ()


def test_without_the_syn_no_byte_is_the_first() -> None:
    with pytest.raises(NotShown, match="the initiator's SYN"):
        _ = conversation([(0, b"abc")], syn=False).initiator_stream.content


def test_without_payload_there_is_nothing_to_put_together() -> None:
    """A capture that was cut to so many bytes of each frame."""
    stream = conversation([(0, b"abcdefgh")], cut=True).initiator_stream
    for name in ("content", "contradictions"):
        with pytest.raises(NotShown, match="the payload of frame 3"):
            getattr(stream, name)


def test_a_number_far_away_takes_no_memory() -> None:
    """A hole of half the circle is a hole, and no gigabyte."""
    stream = conversation([(0, b"abc"), (2**31 - 10, b"x")]).initiator_stream
    with pytest.raises(NotShown, match=f"bytes 4 to {2**31 - 10} of"):
        _ = stream.content


def test_runs() -> None:
    """Pieces that touch are one run; in the order of the stream; of what contradicts the first stays."""
    pieces = [Piece(10, b"klm"), Piece(0, b"ab"), Piece(2, b"cd"), Piece(1, b"bX"), Piece(5, b"")]
    assert reassembled(pieces) == ((Piece(0, b"abcd"), Piece(10, b"klm")), (Contradiction(3, 2),))
    assert reassembled([]) == ((), ())


def test_a_frame_captured_twice_is_one_piece_twice() -> None:
    frames = [frame(0, 0, SYN), frame(1, 0, SYN | ACK, back=True), frame(2, 1, ACK | PSH, b"abc")]
    frames.append(replace(frames[2], time=frames[2].time + 5000))
    (found,) = conversations(read_capture(encode(frames), "made").segments)
    assert found.initiator_stream.content == b"abc"
