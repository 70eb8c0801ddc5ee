"""What harness.grading.copies promises: copies are found, with the frames; honest students are left alone."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.traffic import make_capture
from harness.grading.copies import Group, Shared, candidates, groups, pairs, shared
from harness.grading.fingerprints import Fingerprint, fingerprint
from harness.tcp.conversation import conversations
from tests.pcaps import Frame
from tests.unit.copying import (
    DATA,
    THREE,
    Change,
    anonymised,
    capture_of,
    conversation_of,
    cut,
    duplicated,
    every_other,
    good,
    honest,
    in_turn,
    listing,
    merged,
    numbers_shifted,
    of_frames,
    readdressed,
    retimed,
    timestamps_shifted,
    to_pcapng,
    without_timestamps,
)

ALL = tuple((frame, frame) for frame in range(1, 70))
RTO = 200_000_000


def of(frames: list[Frame]) -> Fingerprint:
    return fingerprint(of_frames(frames))


@pytest.fixture(scope="module")
def original() -> Fingerprint:
    return of(good())


def place_among(other: list[Frame]) -> tuple[tuple[int, int], ...]:
    """Where the original's frames stand among another's."""
    times = sorted((*((f.time, at) for at, f in enumerate(good(), 1)), *((f.time, 0) for f in other)))
    return tuple((at, place) for place, (_, at) in enumerate(times, 1) if at)


CHANGES: dict[str, tuple[Change, Shared]] = {
    "nothing": (lambda frames: frames, Shared("isns", ALL)),
    "cut in the middle": (cut(20, 28), Shared("numbers", tuple((at + 20, at) for at in range(1, 9)))),
    "without SYNs": (cut(2, 69), Shared("numbers", tuple((at + 2, at) for at in range(1, 68)))),
    "without the end": (cut(0, 8), Shared("isns", ALL[:8])),
    "every other frame": (every_other, Shared("numbers", tuple((2 * at - 1, at) for at in range(1, 36)))),
    "shifted in time": (retimed(10**15 + 123_000), Shared("isns", ALL)),
    "stretched in time": (retimed(5, 1.37), Shared("isns", ALL)),
    "other addresses": (readdressed(), Shared("isns", ALL)),
    "ends swapped": (readdressed(0xC0A80140, 0xC0A8013F, 1000), Shared("isns", ALL)),
    "each frame twice": (duplicated, Shared("isns", tuple((at, 2 * at - 1) for at in range(1, 70)))),
    "without timestamps": (without_timestamps, Shared("isns", ALL)),
    "other ISNs": (numbers_shifted(), Shared("timestamps", ALL)),
    "other ISNs, stretched": (in_turn(numbers_shifted(), retimed(0, 2.5)), Shared("timestamps", ALL)),
    "other ISNs, every other": (
        in_turn(numbers_shifted(), every_other),
        Shared("timestamps", tuple((2 * at - 1, at) for at in range(1, 36))),
    ),
    "other ISNs and timestamps": (in_turn(numbers_shifted(), timestamps_shifted()), Shared("times", ALL)),
    "anonymised": (anonymised, Shared("times", ALL)),
    "anonymised, shifted in time": (in_turn(anonymised, retimed(10**14)), Shared("times", ALL)),
    "half of it anonymised": (
        in_turn(anonymised, cut(10, 45)),
        Shared("times", tuple((at + 10, at) for at in range(1, 36))),
    ),
    "among other traffic": (merged(good(THREE)), Shared("isns", place_among(good(THREE)))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_copy_is_found(original: Fingerprint, name: str) -> None:
    """With the frames, by the strongest evidence, from both sides; and the index leads to it."""
    change, expected = CHANGES[name]
    copy = of(change(good()))
    assert shared(original, copy) == expected
    assert shared(copy, original) == expected.mirrored
    assert candidates([("b", original.keys), ("a", copy.keys)]) == [("a", "b")]
    (pair,) = pairs([("one", original), ("two", copy)])
    assert (pair.one, pair.two, pair.shared) == ("one", "two", expected)


def test_a_copy_in_another_format_is_found(original: Fingerprint) -> None:
    assert shared(original, fingerprint(conversation_of(to_pcapng(good())))) == Shared("isns", ALL)
    for switches in (["-S"], [], ["-tt"]):
        assert shared(original, fingerprint(conversation_of(listing(good(), *switches)))) == Shared("isns", ALL)


def test_lines_taken_out_of_a_listing(original: Fingerprint) -> None:
    """Then the sequence numbers of the others, which are not printed, cannot be known."""
    lines = listing(good(), "-S").splitlines(keepends=True)[::2]
    found = shared(original, fingerprint(conversation_of(b"".join(lines))))
    assert found == Shared("numbers", tuple((2 * at - 1, at) for at in range(1, 36)))
    lines = listing(good()).splitlines(keepends=True)[5:]
    relative = shared(original, fingerprint(conversation_of(b"".join(lines))))
    assert relative
    assert relative.how == "timestamps"
    assert {one - two for one, two in relative.frames} == {5}
    assert len(relative.frames) > 60


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 61),
    size=st.integers(8, 69),
    shift=st.integers(-(10**9), 10**9),
    stretch=st.floats(0.1, 10),
    addresses=st.tuples(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1)).filter(lambda pair: pair[0] != pair[1]),
)
def test_any_part_anywhere_at_any_time(  # noqa: PLR0913
    original: Fingerprint, start: int, size: int, shift: int, stretch: float, addresses: tuple[int, int]
) -> None:
    copy = of(in_turn(cut(start, start + size), retimed(shift * 1000, stretch), readdressed(*addresses))(good()))
    found = shared(original, copy)
    assert found
    assert found.frames == tuple((at + start, at) for at in range(1, min(size, 69 - start) + 1))


@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 45), size=st.integers(24, 69), shift=st.integers(-(10**9), 10**9), by=st.integers(1, 2**32))
def test_any_anonymised_part(original: Fingerprint, start: int, size: int, shift: int, by: int) -> None:
    """Of 24 frames or more, the times between them tell."""
    change = in_turn(anonymised, numbers_shifted(by, by // 3), cut(start, start + size), retimed(shift * 1000))
    found = shared(original, of(change(good())))
    assert found
    assert found.frames == tuple((at + start, at) for at in range(1, min(size, 69 - start) + 1))


def test_honest_students_share_nothing() -> None:
    """200 of them: there is no group, and whoever is compared without a key in common shares nothing either."""
    items = [(f"{at:03}", fingerprint(one)) for at, one in enumerate(honest(200, seed=2))]
    assert groups(items) == []
    for (_, one), (_, two) in combinations(items[:20], 2):
        assert shared(one, two) is None


def with_one_more_key(items: list[tuple[str, Fingerprint]], key: int) -> list[tuple[str, Fingerprint]]:
    return [(name, replace(one, keys=(*one.keys, key))) for name, one in items]


def test_a_key_in_common_accuses_nobody() -> None:
    """Were a key everybody's, by whatever accident: nobody is reported, but for the one copy."""
    items = [(f"{at:03}", fingerprint(one)) for at, one in enumerate(honest(12, seed=3))]
    assert groups(with_one_more_key(items, 77)) == []
    items.append(("zoe", items[7][1]))
    (pair,) = pairs(with_one_more_key(items, 77))
    assert (pair.one, pair.two) == ("007", "zoe")


def at_other_times(frames: list[Frame], seed: int = 5, first: int = 0) -> list[Frame]:
    """Each time between two frames is another by chance, from a frame on; and the timestamps with it."""
    jitter = np.exp(np.random.default_rng(seed).normal(0, 0.1, len(frames)))
    jitter[:first] = 1
    micro = np.round(np.diff([frame.time // 1000 for frame in frames], prepend=frames[0].time // 1000) * jitter)
    times = (frames[0].time + np.cumsum(micro).astype(np.int64) * 1000).tolist()
    moved = [replace(frame, time=time) for frame, time in zip(frames, times, strict=True)]
    late = [(new.time - old.time) // 10**6 for new, old in zip(moved, frames, strict=True)]
    return [timestamps_shifted(by)([frame])[0] for frame, by in zip(moved, late, strict=True)]


def test_the_same_hosts_at_the_same_time() -> None:
    """Two connections begun in one millisecond between the same hosts: their timestamps agree here and there."""
    other = at_other_times(numbers_shifted()(good()))
    one, two = of(good()), of(other)
    assert set(one.keys) & set(two.keys)
    assert shared(one, two) is None
    begun = retimed(0, 1.1)(numbers_shifted()(good()[:5]))  # all of them in the first millisecond
    assert shared(of(good()[:5]), of(begun)) is None
    half = [timestamps_shifted(at % 2)([frame])[0] for at, frame in enumerate(numbers_shifted()(good()))]
    assert shared(one, of(retimed(0, 1.1)(half))) is None


def test_relative_numbers_are_everybodys() -> None:
    """Of two listings without the lines that show the ISNs."""
    one, two = (
        fingerprint(conversation_of(b"".join(listing(frames).splitlines(keepends=True)[5:])))
        for frames in (without_timestamps(good()), at_other_times(without_timestamps(good())))
    )
    assert one.table["seq"].tolist() == two.table["seq"].tolist()
    assert shared(one, two) is None


def test_some_times_in_common_are_not_enough() -> None:
    """A part that agrees, in a connection that does not."""
    one = of(without_timestamps(good()))
    for first, found in ((20, False), (50, True)):
        two = of(without_timestamps(at_other_times(numbers_shifted()(good()), first=first)))
        assert (shared(one, two) is not None) == found


def test_how_many_segments_it_takes() -> None:
    for overlap, found in ((0, False), (2, False), (3, True), (10, True)):
        one, two = of(good()[: 30 + overlap]), of(good()[30:])
        assert (shared(one, two) is not None) == found


def test_scripted_captures_share_nothing() -> None:
    """Two students whose tool gives all captures the same times, in whole milliseconds."""
    one = [replace(frame, time=10**18 + at * 7_000_000) for at, frame in enumerate(without_timestamps(good()))]
    assert shared(of(one), of(numbers_shifted()(one))) is None


def test_parts_of_one_connection_that_have_no_frame_in_common() -> None:
    """The article's two listings are of one connection: they share cells, but nothing that could be shown."""
    one, two = (
        fingerprint(conversation_of((DATA / name).read_bytes()))
        for name in ("article-handshake.txt", "article-teardown.txt")
    )
    assert shared(one, two) is None


def names(found: list[Group]) -> list[tuple[str, ...]]:
    return [group.students for group in found]


def edges(found: list[Group]) -> list[tuple[str, str]]:
    return [(pair.one, pair.two) for group in found for pair in group.pairs]


@pytest.fixture(scope="module")
def course() -> list[tuple[str, Fingerprint]]:
    """100 honest students, 40 who handed in the sample, and three pairs."""
    items = [(f"h{at:03}", fingerprint(one)) for at, one in enumerate(honest(100, seed=4))]
    sample = of(good())
    items += [(f"s{at:02}", sample) for at in range(40)]
    items += [(f"copy{at}", one) for at, (_, one) in enumerate(items[:3])]
    random.Random(1).shuffle(items)  # noqa: S311
    return items


def test_a_sample_handed_in_by_many_is_one_group(course: list[tuple[str, Fingerprint]]) -> None:
    """And not 780 pairs."""
    found = groups(course)
    many = tuple(f"s{at:02}" for at in range(40))
    assert names(found) == [("copy0", "h000"), ("copy1", "h001"), ("copy2", "h002"), many]
    assert edges(found)[3:] == [("s00", name) for name in many[1:]]
    assert pairs(course) == [pair for group in found for pair in group.pairs]


def test_the_order_changes_nothing(course: list[tuple[str, Fingerprint]]) -> None:
    for seed in range(3):
        other = course.copy()
        random.Random(seed).shuffle(other)  # noqa: S311
        assert groups(other) == groups(course)


def test_partners_may(original: Fingerprint) -> None:
    """But not with a third; and who has no one but partners in a group is not in it."""
    three = [(name, original) for name in "abc"]
    a_b, a_c, b_c = (frozenset(pair) for pair in ("ab", "ac", "bc"))
    assert edges(groups(three)) == [("a", "b"), ("a", "c")]
    assert edges(groups(three, {a_b})) == [("a", "c"), ("b", "c")]
    assert names(groups(three, {a_b})) == [("a", "b", "c")]
    assert edges(groups(three, {a_b, a_c})) == [("b", "c")]
    assert names(groups(three, {a_b, a_c})) == [("b", "c")]
    assert groups(three, {a_b, a_c, b_c}) == []
    assert groups(three[:2], {a_b: "team 1"}) == []


def test_parts_hang_together_by_the_whole(original: Fingerprint) -> None:
    """Two who share no frame, and a third who has both parts."""
    items = [("a", of(cut(0, 30)(good()))), ("b", of(cut(40, 69)(good()))), ("c", original)]
    assert names(groups(items)) == [("a", "b", "c")]
    assert edges(groups(items)) == [("a", "c"), ("b", "c")]
    assert groups(items[:2]) == []


def test_candidates() -> None:
    assert candidates([]) == []
    assert candidates([("a", ()), ("b", (1,))]) == []
    found = candidates([("c", (1, 5, 2**63 - 1)), ("a", (2, 5)), ("b", (5, 2**63 - 1)), ("d", (1, 7))])
    assert found == [("a", "b", "c"), ("b", "c"), ("c", "d")]


def every_change(frames: list[Frame]) -> Iterator[list[Frame]]:
    for at, frame in enumerate(frames):
        yield [*frames[:at], replace(frame, seq=(frame.seq + 1) % 2**32), *frames[at + 1 :]]


def test_a_frame_that_was_changed_is_not_shared(original: Fingerprint) -> None:
    """The others still are."""
    for at, frames in enumerate(list(every_change(good()))[3::20]):
        found = shared(original, of(frames))
        assert found
        assert found.frames == tuple(pair for pair in ALL if pair[0] != 4 + 20 * at)


def test_what_was_sent_again_is_shared_once(original: Fingerprint) -> None:
    frames = good()
    again = [*frames, replace(frames[-1], time=frames[-1].time + RTO)]
    assert shared(original, of(again)) == Shared("isns", ALL)


def test_large_captures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of 20,000 segments a sample is compared, the same one in a copy with other ISNs and no timestamps."""
    path = tmp_path_factory.mktemp("large") / "x.pcap"
    make_capture(path, 20_000, 1, 3)
    whole = conversation_of(path.read_bytes())
    columns, forward = whole.segments_columns, whole.rows.forward
    jitter = np.cumsum(np.random.default_rng(1).integers(0, 5_000_000, len(columns)))
    columns = replace(columns, time=columns.time + jitter)
    own, other = np.where(forward, 7_777_777, 88_888_888), np.where(forward, 88_888_888, 7_777_777)
    moved = replace(
        columns,
        seq=(columns.seq + own).astype(np.uint32),
        ack=(columns.ack + other).astype(np.uint32),
        tsval=np.full(len(columns), -1),
    )
    one, two = (fingerprint(conversations(each)[0]) for each in (columns, moved))
    assert set(one.keys) & set(two.keys)
    found = shared(one, two)
    assert found
    assert found.how == "times"
    assert len(found.frames) >= 200
    assert all(a == b for a, b in found.frames)


def test_frames_are_the_captures(original: Fingerprint) -> None:
    """A frame's number is the one in the file, also where other frames stand between."""
    between = [replace(frame, payload=b"", dport=9, sport=9, src=5, dst=6) for frame in good()]
    frames = [one for both in zip(between, good(), strict=True) for one in both]
    found = shared(original, fingerprint(conversations(capture_of(frames).segments)[1]))
    assert found == Shared("isns", tuple((at, 2 * at) for at in range(1, 70)))
