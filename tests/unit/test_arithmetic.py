"""What arithmetic and relative (harness.tcp) promise: positions that do not wrap, and how far each end had got."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.tcp.flags import ACK, FIN, PSH, RST, SYN
from harness.tcp.known import NONE
from harness.tcp.notation import parse
from harness.tcp.relative import Relative, relative_of
from harness.tcp.segments import Segments, from_rows
from harness.tcp.splitting import split

MODULUS = 1 << 32
ENDS = ((10, 40000), (20, 22))

isns = st.integers(0, MODULUS - 1) | st.integers(MODULUS - 100_000, MODULUS - 1)
numbers32 = st.integers(0, MODULUS - 1)


@dataclass
class Wire:
    """Two unwrapped streams, and what the capture shows of them: the model."""

    isns: tuple[int, int]
    rows: list[dict[str, int]] = field(default_factory=list)
    expected: list[dict[str, int]] = field(default_factory=list)
    reached: list[int] = field(default_factory=lambda: [0, 0])
    reached_row: list[int] = field(default_factory=lambda: [NONE, NONE])
    acked: list[int] = field(default_factory=lambda: [NONE, NONE])
    acked_row: list[int] = field(default_factory=lambda: [NONE, NONE])

    def send(self, end: int, flags: int, position: int, length: int = 0, ack: int = 0) -> None:
        """One end sends a segment at a position of its stream; *ack* is one of the other stream."""
        row, other = len(self.rows), 1 - end
        (src, sport), (dst, dport) = ENDS[end], ENDS[other]
        self.rows.append(
            {
                "src": src,
                "sport": sport,
                "dst": dst,
                "dport": dport,
                "frame": row + 1,
                "seq": (self.isns[end] + position) % MODULUS,
                "ack": (self.isns[other] + ack) % MODULUS if flags & ACK else 0,
                "flags": flags,
                "length": length,
            }
        )
        stop = position + length + bool(flags & SYN) + bool(flags & FIN)
        self.expected.append(
            {
                "position": position,
                "end": stop,
                "ack": ack if flags & ACK else NONE,
                "sent": self.reached[end],
                "sent_row": self.reached_row[end],
                "peer_sent": self.reached[other],
                "peer_sent_row": self.reached_row[other],
                "acked": self.acked[end],
                "acked_row": self.acked_row[end],
            }
        )
        if stop > self.reached[end]:
            self.reached[end], self.reached_row[end] = stop, row
        if flags & ACK and ack > self.acked[end]:
            self.acked[end], self.acked_row[end] = ack, row

    def handshake(self) -> None:
        """The first three segments."""
        self.send(0, SYN, 0)
        self.send(1, SYN | ACK, 0, ack=1)
        self.send(0, ACK, 1, ack=1)

    def check(self) -> None:
        """Compare every column with the model."""
        found = numbers(from_rows(self.rows))
        for name in self.expected[0]:
            assert getattr(found, name).tolist() == [row[name] for row in self.expected], name


def numbers(segments: Segments) -> Relative:
    """The columns of the only conversation."""
    (rows,) = split(segments)
    return relative_of(segments, rows)


# Any stream


@settings(max_examples=80, deadline=None)
@given(
    isns=st.tuples(isns, isns),
    sends=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 65535), st.integers(0, 3)), max_size=25),
    fins=st.booleans(),
)
@example(isns=(MODULUS - 1, MODULUS - 1), sends=[(0, 1, 0), (1, 1, 0)], fins=True)
@example(isns=(MODULUS - 2, 0), sends=[(0, 0, 0), (0, 65535, 0), (1, 65535, 1)], fins=True)
def test_positions_are_those_of_the_unwrapped_streams(
    isns: tuple[int, int], sends: list[tuple[int, int, int]], fins: bool
) -> None:
    """Wherever the ISNs are, each column is what a stream of plain ints says, with late ACKs among them."""
    wire = Wire(isns)
    wire.handshake()
    ends_of: tuple[list[int], list[int]] = ([1], [1])
    for end, length, behind in sends:
        position = wire.reached[end]
        acks = ends_of[1 - end]
        wire.send(end, PSH | ACK if length else ACK, position, length, ack=acks[max(0, len(acks) - 1 - behind)])
        ends_of[end].append(position + length)
    if fins:
        for end in (0, 1):
            wire.send(end, FIN | ACK, wire.reached[end], ack=wire.reached[1 - end])
    wire.check()


@settings(max_examples=60, deadline=None)
@given(
    isns=st.tuples(isns, isns),
    sends=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 65535), st.integers(0, 5)), min_size=1, max_size=20),
)
def test_segments_sent_again_are_at_their_old_positions(
    isns: tuple[int, int], sends: list[tuple[int, int, int]]
) -> None:
    """A retransmission and a hole left by what was not captured do not move the stream that follows."""
    wire = Wire(isns)
    wire.handshake()
    before: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for end, length, kind in sends:
        if kind == 0 and before[end]:
            position, length = before[end][0]  # noqa: PLW2901 - what is sent is the old segment
        else:
            position = wire.reached[end] + (1000 if kind == 1 else 0)
        before[end].append((position, length))
        wire.send(end, ACK, position, length, ack=wire.reached[1 - end])
    wire.check()


@settings(max_examples=25, deadline=None)
@given(isns=st.tuples(isns, isns), lengths=st.lists(st.integers(1 << 28, 1 << 30), min_size=8, max_size=30))
def test_a_stream_of_many_gigabytes_wraps_more_than_once(isns: tuple[int, int], lengths: list[int]) -> None:
    """Positions go on beyond 2³², and so do the acknowledgements of them."""
    wire = Wire(isns)
    wire.handshake()
    for length in lengths:
        wire.send(0, ACK, wire.reached[0], length, ack=1)
        wire.send(1, ACK, 1, ack=wire.reached[0])
    wire.check()


# RST


@settings(max_examples=80, deadline=None)
@given(
    isns=st.tuples(isns, isns),
    resets=st.lists(st.tuples(st.integers(1, 7), st.integers(0, 1), numbers32, numbers32, st.booleans()), max_size=5),
)
@example(isns=(0, 0), resets=[(3, 0, 1 << 31, 0, False)])
@example(isns=(0, 0), resets=[(3, 0, 0x7FFFFFFF, 0, False), (3, 0, 0xFFFFFFFE, 0, True)])
def test_a_rst_does_not_move_the_stream(isns: tuple[int, int], resets: list[tuple[int, int, int, int, bool]]) -> None:
    """With RSTs of any number strewn in, all other segments have the columns that they have without."""
    wire = Wire(isns)
    wire.handshake()
    for _ in range(2):
        wire.send(0, ACK, wire.reached[0], 100, ack=wire.reached[1])
        wire.send(1, ACK, wire.reached[1], 100, ack=wire.reached[0])
    alone = numbers(from_rows(wire.rows))
    rows, kept = list(wire.rows), list(range(len(wire.rows)))
    for place, end, seq, ack, has_ack in sorted(resets, reverse=True):
        (src, sport), (dst, dport) = ENDS[end], ENDS[1 - end]
        ends = {"src": src, "sport": sport, "dst": dst, "dport": dport}
        rows.insert(place, {**ends, "flags": RST | ACK if has_ack else RST, "seq": seq, "ack": ack, "length": 5})
        kept = [row + (row >= place) for row in kept]
    among = numbers(from_rows(rows))
    moved = np.array([NONE, *kept])  # NONE + 1 is the first place
    for name in ("position", "end", "ack", "sent", "peer_sent", "acked"):
        assert getattr(among, name)[kept].tolist() == getattr(alone, name).tolist(), name
    for name in ("sent_row", "peer_sent_row", "acked_row"):
        assert getattr(among, name)[kept].tolist() == moved[getattr(alone, name) + 1].tolist(), name


@pytest.mark.parametrize("seq", [101, 100, 102, 0, 101 + (1 << 31) - 1, 101 - (1 << 31)])
def test_a_rst_stands_where_its_number_says(seq: int) -> None:
    """Its position is the short way from where its sender's stream had got to; its payload occupies nothing."""
    found = numbers(parse(f"+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > . 1:101(100) ack 1\n+0 > R {seq}:{seq + 9}(9)"))
    assert int(found.position[3]) == int(found.end[3]) == seq
    assert int(found.sent[3]) == 101


# What was not captured


def test_an_isn_is_the_first_syns_number() -> None:
    """Also if the SYN is sent again, or another one comes later."""
    found = numbers(parse("+0 > S 0:0(0)\n+1 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > S 7:7(0)", isns=(77, 99)))
    assert found.base == (77, 99)
    assert found.isn_shown == (True, True)
    assert found.position.tolist() == [0, 0, 0, 7]


@pytest.mark.parametrize("begin", [1, 5, 70_000, -3])
def test_without_a_syn_the_first_number_is_position_1(begin: int) -> None:
    """As if the SYN had stood just before what was captured first."""
    script = f"+0 > P. {begin}:{begin + 10}(10) ack {begin}\n+0 < . {begin}:{begin}(0) ack {begin + 10}"
    found = numbers(parse(script, isns=(1000, 2000)))
    assert found.base == (1000 + begin - 1, 2000 + begin - 1)
    assert found.isn_shown == (False, False)
    assert found.position.tolist() == [1, 1]
    assert found.end.tolist() == [11, 1]
    assert found.ack.tolist() == [1, 11]


def test_before_anything_was_captured_nothing_had_been_sent() -> None:
    """The first segment of each end follows none; the next ones follow it, though it was empty."""
    found = numbers(parse("+0 > . 1:1(0) ack 1\n+0 < . 1:1(0) ack 1\n+0 > P. 101:111(10) ack 1"))
    assert found.sent_row.tolist() == [NONE, NONE, 0]
    assert found.peer_sent_row.tolist() == [NONE, 0, 1]
    assert found.peer_sent[0] <= 0
    assert found.sent.tolist()[2] == 1


def test_an_end_that_is_not_captured_begins_where_it_is_acknowledged() -> None:
    """One direction alone still has positions for what it acknowledges."""
    found = numbers(parse("+0 > S 0:0(0)\n+0 > . 1:1(0) ack 1\n+0 > . 1:1(0) ack 300", isns=(5, 9)))
    assert found.base == (5, 9)
    assert found.isn_shown == (True, False)
    assert found.ack.tolist() == [NONE, 1, 300]
    assert found.peer_sent_row.tolist() == [NONE] * 3


def test_only_the_syn_ack_captured() -> None:
    """The responder's ISN is shown; the initiator's follows from what it sends."""
    found = numbers(parse("+0 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1", isns=(5, 9)))
    assert found.base == (5, 9)
    assert found.isn_shown == (False, True)
    assert found.ack.tolist() == [1, 1]


@pytest.mark.parametrize("seq", [0, 1, 1 << 31, MODULUS - 1])
def test_an_end_that_sent_nothing_but_a_rst(seq: int) -> None:
    """The first number seen of an end is position 1, as in Wireshark, if only a RST shows it."""
    found = numbers(parse(f"+0 > S 0:0(0)\n+0 < R. {seq}:{seq}(0) ack 1"))
    assert found.position.tolist() == [0, 1]
    assert found.isn_shown == (True, False)


def test_the_ack_field_counts_only_with_the_flag() -> None:
    """Without ACK the field says nothing, whatever stands in it."""
    segments = parse("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1")
    segments.ack[0] = 12345
    assert numbers(segments).ack.tolist() == [NONE, 1]


def test_a_rsts_ack_acknowledges_nothing() -> None:
    """What a RST carries as ack does not raise what its sender has acknowledged."""
    found = numbers(parse("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > R. 1:1(0) ack 900\n+0 > . 1:1(0) ack 1"))
    assert found.acked.tolist() == [NONE, NONE, NONE, NONE]
