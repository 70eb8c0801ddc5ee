"""Many captures worked out together are what each is alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.captures.capture import Capture
from harness.captures.reading import load_capture, read_capture, read_many
from harness.errors import HarnessError
from harness.tcp.conversation import Conversation, conversations, conversations_of_many
from harness.tcp.notes import notes
from harness.tcp.segments import COLUMNS, Segments, from_rows, together
from harness.tcp.summary import Summary, summaries, summaries_of_many
from harness.tcp.tracking import Tracker

DATA = Path(__file__).resolve().parents[1] / "data"
FILES = [*sorted((DATA / "named").glob("*.pcap")), *sorted(DATA.glob("*.pcap")), *sorted(DATA.glob("*.txt"))]


@pytest.fixture(scope="module")
def captures() -> list[Segments]:
    """Pcaps and listings, IPv4 and IPv6."""
    return [load_capture(path).segments for path in FILES]


def told(conversation: Conversation) -> tuple[object, ...]:
    """All that a conversation is asked for."""
    return (
        (conversation.initiator, conversation.responder, conversation.history, conversation.conn_state),
        (conversation.open, conversation.close, conversation.closer, conversation.completeness),
        conversation.script,
        conversation.states_by_row,
        conversation.reuses_ports,
        notes(conversation),
        [(s.frame, s.sender, s.relative, s.offset, s.bits, int(s.len), s.time) for s in conversation.segments],
        [conversation.segments_columns.payload(int(row)) for row in conversation.rows.rows],
        [conversation.segments_columns.sack_blocks(int(row)) for row in conversation.rows.rows],
    )


def test_together_as_alone(captures: list[Segments]) -> None:
    """The same addresses and ports in several captures are several conversations."""
    assert len(captures) > 40
    nothing = captures[0].take(from_rows([]).frame)
    for many in ([*captures, nothing, *captures], [nothing], [nothing, captures[1]], []):
        found = conversations_of_many(many)
        assert [[told(one) for one in of] for of in found] == [
            [told(one) for one in conversations(segments)] for segments in many
        ]


def over_ipv6(segments: Segments, first: int) -> Segments:
    """The same between two IPv6 hosts, their addresses' last bytes *first* and the next."""
    table = tuple(bytes(15) + bytes([last]) for last in (first, first + 1))
    ours = segments.src == segments.src[0]
    one, two = (np.full(len(segments), (1 << 32) + place, np.uint64) for place in (0, 1))
    return replace(segments, src=np.where(ours, one, two), dst=np.where(ours, two, one), ipv6=table)


def test_captures_with_ipv6_addresses_of_their_own(captures: list[Segments]) -> None:
    """A key stands for another address in each capture."""
    one, two = captures[:2]
    many = [one, over_ipv6(two, 1), two, over_ipv6(one, 3), over_ipv6(one, 1)]
    found = conversations_of_many(many)
    assert [[told(c) for c in of] for of in found] == [[told(c) for c in conversations(part)] for part in many]
    assert found[1][0].initiator.startswith("[::1]:")
    assert found[3][0].initiator.startswith("[::3]:")


def test_one_capture_is_itself(captures: list[Segments]) -> None:
    assert together(captures[:1]) is captures[0]


def as_read(name: str, data: bytes) -> object:
    """What reading one capture alone gives."""
    try:
        capture = read_capture(data, name)
    except HarnessError as error:
        return str(error)
    return described(capture)


def described(capture: Capture) -> object:
    """All that a capture holds."""
    segments = capture.segments
    return (
        (capture.format, capture.link_types, capture.frames, capture.other_frames, capture.damage, segments.ipv6),
        [getattr(segments, name).tolist() for name in COLUMNS],
        [(segments.payload(row), segments.sack_blocks(row)) for row in range(len(segments))],
    )


def test_read_together_as_alone() -> None:
    """Whole, cut, damaged, odd and impossible files among each other."""
    whole = [(path.name, path.read_bytes()) for path in FILES]
    one = whole[0][1]
    broken = [
        *((f"cut to {size}", one[:size]) for size in (0, 3, 23, 24, 30, 100, len(one) - 1)),
        ("no link type of TCP", one[:20] + b"\xff\0\0\0" + one[24:]),
        ("one long frame", one[:32] + b"\xff\xff\xff\x7f" + one[36:]),
        ("one frame of something else", one[: 24 + 16 + 12] + b"\x08\x06" + one[24 + 16 + 14 :]),
        ("nothing known", b"hello"),
    ]
    files = [*broken, *whole, *reversed(broken)]
    found = [str(one) if isinstance(one, HarnessError) else described(one) for one in read_many(files)]
    assert found == [as_read(*file) for file in files]
    assert len({str(one)[:60] for one in found}) > 10
    assert read_many([]) == []


def test_summaries_together_as_alone(captures: list[Segments]) -> None:
    def alone(segments: Segments) -> list[Summary]:
        tracker = Tracker()
        tracker.take_all(segments)
        return list(summaries(tracker))

    assert summaries_of_many([*captures, *captures]) == [alone(segments) for segments in captures] * 2
