"""What harness.tcp.summary promises: the verdicts of a `Conversation`, however the capture is cut into pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.traffic import make_capture
from harness.captures.reading import read_capture
from harness.tcp.conversation import Conversation, NotShown, conversations
from harness.tcp.notation import parse
from harness.tcp.segments import Segments, concatenated, from_rows
from harness.tcp.summary import Options, Summary, summaries
from harness.tcp.tracking import Tracker

HANDSHAKE = """
    +0    > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
    +.010 < S. 0:0(0) ack 1 <mss 1400,nop,wscale 6>
    +.005 > .  1:1(0) ack 1
"""
CLOSE = "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n+0 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2\n"
AGAIN = "+1 > S 70000:70000(0)\n+0 < S. 90000:90000(0) ack 70001\n+0 > . 70001:70001(0) ack 90001\n"


def summed(segments: Segments, *cuts: int) -> list[Summary]:
    """The summaries of a capture that comes in pieces."""
    tracker = Tracker()
    for rows in np.split(np.arange(len(segments)), sorted(cuts)):
        if len(rows):
            tracker.take(segments.take(rows))
    return list(summaries(tracker))


def one(script: str) -> Summary:
    (found,) = summed(parse(script))
    return found


def isn(conversation: Conversation, end: int) -> int | None:
    try:
        return conversation.streams[end].isn.value
    except NotShown:
        return None


def byte_count(conversation: Conversation, end: int) -> int:
    return conversation.streams[end].bytes


def assert_agrees(summary: Summary, conversation: Conversation) -> None:
    """A summary says what the conversation says that was looked at segment by segment."""
    frames = [segment.frame for segment in conversation.segments]
    assert summary.ends == (conversation.initiator, conversation.responder)
    assert summary.isns == (isn(conversation, 0), isn(conversation, 1))
    assert (summary.open, summary.close, summary.closer) == (conversation.open, conversation.close, conversation.closer)
    assert (summary.conn_state, summary.history) == (conversation.conn_state, conversation.history)
    assert summary.completeness == conversation.completeness
    assert (summary.first_frame, summary.last_frame, summary.segments) == (frames[0], frames[-1], len(frames))
    assert summary.bytes == (byte_count(conversation, 0), byte_count(conversation, 1))


@pytest.fixture(scope="module", params=["all of it", "one frame in twenty is missing"])
def traffic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segments:
    """3,000 packets of 60 conversations, with losses, duplicates and swaps; captured whole, and not."""
    path = tmp_path_factory.mktemp("traffic") / "x.pcap"
    make_capture(path, 3000, 60, 7, loss=0.03, duplicates=0.02, swaps=0.02)
    segments = read_capture(path.read_bytes(), "x").segments
    return segments.take(np.flatnonzero((np.arange(3000) * 7 % 20 > 0) | (request.param == "all of it")))


def test_summaries_are_the_conversations_own(traffic: Segments) -> None:
    """Of a real mixture of traffic, one by one."""
    found, whole = summed(traffic), conversations(traffic)
    assert len(found) == len(whole) == 60
    for summary, conversation in zip(found, whole, strict=True):
        assert_agrees(summary, conversation)
    assert (sum("g" in summary.history.lower() for summary in found) > 20) == (len(traffic) < 3000)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 2800), max_size=12))
def test_pieces_change_nothing(traffic: Segments, cuts: list[int]) -> None:
    """Wherever the capture is cut, the summaries stay."""
    assert summed(traffic, *cuts) == summed(traffic)


@settings(max_examples=200, deadline=None)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(["> .", "> .", "> .", "< .", "< .", "< .", "> F.", "< F.", "> R.", "< R."]),
            *(st.integers(0, 12), st.integers(0, 3), st.integers(0, 14)),
        ),
        min_size=2,
        max_size=25,
    ),
    scale=st.sampled_from([1, 3000]),
    cuts=st.lists(st.integers(1, 28), max_size=4),
)
def test_gaps_in_pieces(script: list[tuple[str, int, int, int]], scale: int, cuts: list[int]) -> None:
    """However little of the streams was captured, and in whatever order: also where a cut is within a gap."""
    lines = [
        f"+0 {what} {1 + scale * at}:{1 + scale * (at + size)}({scale * size}) ack {1 + scale * ack}\n"
        for what, at, size, ack in script
    ]
    segments = parse(HANDSHAKE + "".join(lines))
    assert summed(segments, *cuts) == summed(segments)


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_gap_in_the_next_piece(cut: int) -> None:
    """What is missing, what is there beyond, and that it was acknowledged, is known from piece to piece."""
    holes = "".join(f"+0 > . {at}:{at + 5}(5) ack 1\n" for at in (11, 21, 31))
    script = HANDSHAKE + holes + "+0 > . 1:11(10) ack 1\n+0 < . 1:1(0) ack 36\n+0 < . 1:1(0) ack 40\n"
    segments = parse(script)
    assert [summary.history for summary in summed(segments, cut, 8)] == ["ShADTaG"]
    assert summed(segments, cut) == summed(segments)


def test_another_conversation_fills_no_gap() -> None:
    """However alike they are."""
    hole = "+0 > . 11:21(10) ack 1\n"
    first = parse(HANDSHAKE + hole + "+0 < . 1:1(0) ack 21\n", initiator="192.168.1.63:40000")
    second = parse(HANDSHAKE + hole + "+0 > . 1:11(10) ack 1\n", initiator="192.168.1.63:40001")
    segments = concatenated([first.take(np.arange(4)), second, first.take(np.arange(4, 5))])
    segments.frame[:] = np.arange(1, 11)
    for cuts in ((), (9,)):
        assert [summary.history for summary in summed(segments, *cuts)] == ["ShADaG", "ShADT"]


flags = st.sampled_from([0, 1, 2, 4, 16, 17, 18, 20, 24, 25, 2, 18, 16])
numbers = st.integers(0, 12) | st.sampled_from([2**32 - 1, 2**31, 70_000])
rows = st.fixed_dictionaries(
    {"end": st.integers(0, 1), "flags": flags, "seq": numbers, "ack": numbers, "length": st.integers(0, 3)}
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(rows, min_size=1, max_size=25))
def test_any_segments_at_all(rows: list[dict[str, int]]) -> None:
    """However senseless: the two ways agree, and each row is in one conversation."""
    ends = ((10, 40000), (20, 22))
    made = []
    for frame, row in enumerate(rows, 1):
        (src, sport), (dst, dport) = ends[row["end"]], ends[1 - row["end"]]
        made.append({**row, "frame": frame, "src": src, "sport": sport, "dst": dst, "dport": dport})
        del made[-1]["end"]
    segments = from_rows(made)
    found, whole = summed(segments), conversations(segments)
    assert sum(summary.segments for summary in found) == len(rows)
    for summary, conversation in zip(found, whole, strict=True):
        assert_agrees(summary, conversation)


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_syn_whose_answer_is_in_the_next_piece(cut: int) -> None:
    """What depends on the answer waits for it."""
    script = HANDSHAKE + AGAIN + "+0 > P. 70001:70002(1) ack 90001\n" + "+0 < . 90001:90001(0) ack 70002\n"
    segments = parse(script)
    assert [summary.segments for summary in summed(segments)] == [3, 5]
    assert summed(segments, cut) == summed(segments)


def test_a_syn_that_is_never_answered_is_not_waited_for_for_ever() -> None:
    """One more piece is waited for; what was held back at the end counts too."""
    segments = parse(HANDSHAKE + CLOSE + "+1 > S 70000:70000(0)\n" * 3)
    for cuts in ((), (8,), (8, 9), (7, 8, 9)):
        assert [summary.segments for summary in summed(segments, *cuts)] == [7, 3]


def test_round_trip() -> None:
    """From the SYN to the ACK of the SYN-ACK; from the last SYN, where it was sent again."""
    about_15_ms = pytest.approx(15_000_000, abs=1000)
    assert one(HANDSHAKE).handshake_rtt == about_15_ms
    assert one("+0 > S 0:0(0)\n+1 > S 0:0(0)" + HANDSHAKE.partition("wscale 7>")[2]).handshake_rtt == about_15_ms
    assert one("+0 > S 0:0(0)\n+1 < S. 0:0(0) ack 1").handshake_rtt is None
    assert one("+0 > P. 1:2(1) ack 1\n+1 < . 1:1(0) ack 2").handshake_rtt is None


def test_options() -> None:
    """What each SYN offered; nothing of what was not seen."""
    assert one(HANDSHAKE).options == (
        Options(mss=1460, window_scale=7, sack_permitted=True, timestamps=True, fast_open=False),
        Options(mss=1400, window_scale=6, sack_permitted=False, timestamps=False, fast_open=False),
    )
    assert one("+0 > P. 1:2(1) ack 1").options == (None, None)


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("", 0),
        ("+0 > P. 1:11(10) ack 1\n+1 > P. 1:11(10) ack 1\n", 1),
        ("+0 > P. 1:11(10) ack 1\n+1 > P. 1:6(5) ack 1\n+1 > P. 6:11(5) ack 1\n", 2),
        ("+0 > P. 1:11(10) ack 1\n+1 > P. 6:16(10) ack 1\n", 0),
        ("+0 > P. 11:21(10) ack 1\n+0 > P. 1:11(10) ack 1\n", 0),
        ("+0 > P. 11:21(10) ack 1\n+0 > P. 1:11(10) ack 1\n+0 > P. 1:11(10) ack 1\n", 1),
        ("+0 > P. 11:21(10) ack 1\n+0 > P. 11:21(10) ack 1\n+0 > P. 1:11(10) ack 1\n", 1),
        ("+0 > P. 11:21(10) ack 1\n+0 > P. 31:41(10) ack 1\n+0 > P. 1:31(30) ack 1\n+0 > P. 1:41(40) ack 1\n", 1),
        ("+0 > F. 1:1(0) ack 1\n+1 > F. 1:1(0) ack 1\n", 1),
    ],
)
def test_retransmissions(script: str, count: int) -> None:
    """What fills a gap was not seen before: it is none."""
    assert one(HANDSHAKE + script).retransmissions == (count, 0)
    mirrored = script.replace(">", "<")
    assert one(HANDSHAKE + mirrored).retransmissions == (0, count)
    assert one("+0 > S 0:0(0)\n" + HANDSHAKE).retransmissions == (1, 0)
