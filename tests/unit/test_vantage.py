"""What harness.tcp.vantage promises: two captures of one conversation are one story, whatever the clocks say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reports.both import BothViews
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse
from harness.tcp.vantage import Clocks, Crossing, Joined, Sight, clocks, join, sights

MICROSECOND = 1000
_SHORT = """
+0      > S  0:0(0) win 64240 <mss 1460>
+.00002 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.00002 > .  1:1(0) ack 1
+.001   > P. 1:1001(1000) ack 1
+.2     > P. 1:1001(1000) ack 1
+.00002 < .  1:1(0) ack 1001
+.001   > F. 1001:1001(0) ack 1
+.00002 < F. 1:1(0) ack 1002
+.00002 > .  1002:1002(0) ack 2
"""


def one(script: str, *, start: float = 1_700_000_000.0) -> Conversation:
    """The conversation of a script."""
    return conversations(parse(script, start=start))[0]


def sight(time: int, sender: str = "initiator", seq: int = 0, length: int = 0, mark: int = 0) -> Sight:
    """A segment seen."""
    return Sight(0, 1, time, "initiator" if sender == "initiator" else "responder", seq, length, (0,), (mark,))


def later(script: str, *, without: int | None = None, by: float = 0.00001) -> str:
    """A script as the other end sees it: shifted, and without one of its lines."""
    lines = [line for line in script.splitlines() if line.strip()]
    total, moved = 0.0, []
    for number, line in enumerate(lines):
        step, rest = line.split(None, 1)
        total += float(step)
        if number != without:
            moved.append(f"{total + (by if rest.startswith('>') else -by):.6f} {rest}")
    return "\n".join(moved)


@pytest.mark.parametrize("hours", [0, 1, -1])
def test_what_never_arrived(hours: int) -> None:
    """The first copy was lost on its way; the clock of the other end may be an hour off."""
    near = one(_SHORT)
    far = one(later(_SHORT, without=3), start=1_700_000_000.0 + 3600 * hours)
    views = BothViews(near, far)
    found = views.joined
    assert found.clocks
    assert found.clocks.agree
    assert abs(found.clocks.ahead - 3600 * hours * 10**9) <= found.clocks.within
    assert found.clocks.within <= 12 * MICROSECOND
    assert [(one.sent and one.sent.frame) for one in views.lost] == [4]
    assert (views.repeated, views.unsent) == ([], [])
    assert all(abs((found.on_the_wire(one) or 0) - 10_000) <= 12_000 for one in found.crossings if not one.is_lost)
    document = views.document()
    assert (document["lost"], document["arrived_again"], document["not_seen_sent"]) == (1, 0, 0)
    assert [row["lost"] for row in document["segments"]].count(True) == 1
    text = "\n".join(line for line, _ in views.lines(100))
    assert text.count("never arrived") == 2  # at its arrow, and in the summary
    assert all(len(line) <= 100 for line in text.splitlines()[1:])


def test_what_arrived_twice_and_what_nobody_sent() -> None:
    """A copy that the network made, and a segment of somebody else's."""
    near = [sight(0), sight(50, "responder"), sight(100, seq=1, length=5)]
    far = [
        sight(10),
        sight(40, "responder"),
        sight(110, seq=1, length=5),
        sight(111, seq=1, length=5),
        sight(120, seq=9, length=7),
    ]
    found = join(near, far).crossings
    assert [(one.seq, one.length) for one in (cross.sent or cross.arrived[0] for cross in found)] == [
        (0, 0), (0, 0), (1, 5), (9, 7),
    ]  # fmt: skip
    assert [cross.times_arrived for cross in found] == [1, 1, 2, 1]
    assert [cross.sent is None for cross in found] == [False, False, False, True]


def test_cut_up_and_put_together() -> None:
    """Segmentation offload: one big segment arrives as three, and three as one; bytes that are missing are lost."""
    ends = [sight(0), sight(9, "responder")]
    big, small = sight(20, seq=2**32 - 1000, length=3000), [sight(30, seq=2000 + 100 * n, length=100) for n in range(3)]
    parts = [sight(40 + n, seq=(2**32 - 1000 + 1000 * n) % 2**32, length=1000) for n in range(3)]
    whole = sight(50, seq=2000, length=300)
    lost = sight(60, seq=5000, length=10)
    found = join([*ends, big, *small, lost], [*ends, *parts, whole]).crossings[2:]
    assert [len(cross.arrived) for cross in found] == [3, 1, 1, 1, 0]
    assert [cross.times_arrived for cross in found] == [1, 1, 1, 1, 0]
    assert [cross.is_lost for cross in found] == [False] * 4 + [True]


def test_changed_marks_are_overlooked() -> None:
    """A middlebox that writes its own IP identification does not make a loss of every segment."""
    near = [sight(0, mark=1), sight(9, "responder", mark=2)]
    far = [replace(one, marks=(99,)) for one in near]
    assert not [cross for cross in join(near, far).crossings if cross.is_lost or cross.sent is None]


def test_clocks() -> None:
    """No segment arrives before it was sent: that bounds the difference from both sides."""
    assert clocks([300, 250, 700], [-150, -200]) == Clocks(225, 25 + 1000)
    assert clocks([], [5]) is None
    assert clocks([5], []) is None
    parted = clocks([-1_000_000], [0])
    assert parted
    assert not parted.agree


def test_one_direction_only() -> None:
    """Without anything from the other end the clocks cannot be compared; what was lost is told all the same."""
    found = join([sight(0), sight(5, seq=1, length=3)], [sight(10)])
    assert found.clocks is None
    assert [cross.is_lost for cross in found.crossings] == [False, True]
    assert found.on_the_wire(found.crossings[0]) is None


def test_a_capture_that_shows_no_syn() -> None:
    """Where one capture begins late, its segments are the same ends' all the same."""
    near = one(_SHORT)
    late = conversations(parse("\n".join(later(_SHORT).splitlines()[1:])))[0]
    found = join(sights(near, near.initiator), sights(late, near.initiator))
    assert [cross.sent and cross.sent.frame for cross in found.crossings if cross.is_lost] == [1]


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[Sight], list[Sight], int, list[int], list[int]]:
    """Two captures of made traffic: both, the clocks' difference, and which marks were lost and doubled."""
    ahead = draw(st.integers(-4_000_000_000_000, 4_000_000_000_000))
    near, far = list[Sight](), list[Sight]()
    lost, doubled = list[int](), list[int]()
    time = 10**18
    for mark in range(draw(st.integers(2, 25))):
        time += draw(st.integers(1, 10**9))
        sender = "initiator" if mark == 0 or (mark > 1 and draw(st.booleans())) else "responder"
        transit = draw(st.integers(0, 50_000_000))
        fate = "arrives" if mark < 2 else draw(st.sampled_from(["arrives", "arrives", "lost", "doubled"]))
        # Copies of the same segment differ in their marks only.
        seq = draw(st.sampled_from([0, 1, 2**32 - 1]))
        away, home = (0, ahead) if sender == "initiator" else (ahead, 0)
        out, into = (near, far) if sender == "initiator" else (far, near)
        out.append(sight(time + away, sender, seq, 10, mark))
        if fate == "lost":
            lost.append(mark)
            continue
        into.append(sight(time + transit + home, sender, seq, 10, mark))
        if fate == "doubled":
            doubled.append(mark)
            into.append(sight(time + transit + home + draw(st.integers(0, 1000)), sender, seq, 10, mark))
    return sorted(near, key=lambda s: s.time), sorted(far, key=lambda s: s.time), ahead, lost, doubled


def marks(found: Joined, which: list[Crossing]) -> list[int]:
    """The marks of some crossings."""
    assert found
    return sorted(cross.sent.marks[0] for cross in which if cross.sent)


@given(traffic())
def test_any_traffic(made: tuple[list[Sight], list[Sight], int, list[int], list[int]]) -> None:
    """Whatever the clocks, delays, losses and copies: each segment's fate is found, and the clocks within bounds."""
    near, far, ahead, lost, doubled = made
    found = join(near, far)
    assert found.clocks
    assert found.clocks.agree
    assert abs(found.clocks.ahead - ahead) <= found.clocks.within
    assert marks(found, [cross for cross in found.crossings if cross.is_lost]) == lost
    assert marks(found, [cross for cross in found.crossings if cross.times_arrived == 2]) == doubled
    assert not [cross for cross in found.crossings if cross.sent is None]
    assert len(found.crossings) == sum(s.sender == "initiator" for s in near) + sum(
        s.sender == "responder" for s in far
    )
    assert all((found.on_the_wire(cross) or 0) >= -2 * found.clocks.within for cross in found.crossings)
