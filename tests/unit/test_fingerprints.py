"""What harness.grading.fingerprints promises: a copy shares a key, two honest captures share none."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.traffic import make_capture
from harness.errors import HarnessError
from harness.grading.fingerprints import (
    ISNS,
    MOST_KEYS,
    MOST_ROWS,
    NUMBERS,
    NUMBERS_WIDE,
    RANDOM_NUMBERS,
    RANDOM_TIMESTAMPS,
    TIMES,
    TIMESTAMPS,
    TIMESTAMPS_WIDE,
    Fingerprint,
    chance,
    fingerprint,
)
from harness.tcp.conversation import conversations
from tests.pcaps import Frame
from tests.unit.copying import (
    THREE,
    Change,
    anonymised,
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


def kinds(keys: set[int]) -> set[int]:
    return {key >> 60 for key in keys}


def of(frames: list[Frame]) -> Fingerprint:
    return fingerprint(of_frames(frames))


def common(one: Fingerprint, two: Fingerprint) -> set[int]:
    """The kinds of the keys that both have."""
    return kinds(set(one.keys) & set(two.keys))


@pytest.fixture(scope="module")
def original() -> Fingerprint:
    return of(good())


def test_keys(original: Fingerprint) -> None:
    """A few, ascending, for an index of signed 64-bit numbers; of every kind."""
    assert len(original.keys) <= MOST_KEYS
    assert list(original.keys) == sorted(set(original.keys))
    assert all(0 <= key < 2**63 for key in original.keys)
    assert Counter(key >> 60 for key in original.keys).keys() == {*range(ISNS, TIMES + 1)}
    assert original.evidence == RANDOM_NUMBERS | RANDOM_TIMESTAMPS
    assert original.table["frame"].tolist() == list(range(1, 70))
    assert of(good()) == original


def test_keys_stay_the_same_in_a_database(original: Fingerprint) -> None:
    """Whoever changes them must give the rows another version."""
    assert original.rows[0] == 1
    assert [original.keys[0], original.keys[-1]] == [1706219362278522598, 7277609896416214079]


def test_bytes(original: Fingerprint) -> None:
    """There and back; anything else is refused."""
    assert Fingerprint.from_bytes(original.to_bytes()) == original
    for broken in (b"", b"\5abc", original.to_bytes()[:-1], original.to_bytes().replace(original.rows[:2], b"\7\3", 1)):
        with pytest.raises(HarnessError, match="no fingerprint"):
            Fingerprint.from_bytes(broken)


EVERYTHING = {ISNS, NUMBERS, NUMBERS_WIDE, TIMESTAMPS, TIMESTAMPS_WIDE, TIMES}
BY_NUMBERS, BY_TIMESTAMPS = {NUMBERS, NUMBERS_WIDE}, {TIMESTAMPS, TIMESTAMPS_WIDE}
CHANGES: dict[str, tuple[Change, set[int]]] = {
    "cut in the middle": (cut(20, 28), BY_NUMBERS | BY_TIMESTAMPS),
    "without SYNs": (cut(2, 69), EVERYTHING - {ISNS}),
    "without the end": (cut(0, 40), EVERYTHING),
    "every other frame": (every_other, BY_NUMBERS | BY_TIMESTAMPS),
    "shifted in time": (retimed(10**15 + 123_000), EVERYTHING),
    "stretched in time": (retimed(5, 1.37), EVERYTHING - {TIMES}),
    "other addresses": (readdressed(), EVERYTHING),
    "ends swapped": (readdressed(0xC0A80140, 0xC0A8013F, 1000), EVERYTHING),
    "each frame twice": (duplicated, EVERYTHING),
    "without timestamps": (without_timestamps, EVERYTHING - BY_TIMESTAMPS),
    "other ISNs": (numbers_shifted(), BY_TIMESTAMPS | {TIMES}),
    "other ISNs and timestamps": (in_turn(numbers_shifted(), timestamps_shifted()), {TIMES}),
    "anonymised": (anonymised, {TIMES}),
    "anonymised and shifted in time": (in_turn(anonymised, retimed(10**14)), {TIMES}),
    "half of it anonymised": (in_turn(anonymised, cut(10, 45)), {TIMES}),
    "among other traffic": (merged(good(THREE)), EVERYTHING),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_copy_shares_keys(original: Fingerprint, name: str) -> None:
    """Whatever was done to it; and by what."""
    change, by = CHANGES[name]
    assert common(original, of(change(good()))) == by


def test_a_copy_in_another_format_shares_all_keys(original: Fingerprint) -> None:
    """Of pcapng with nanoseconds, and of what tcpdump prints, with relative numbers or not."""
    assert fingerprint(conversation_of(to_pcapng(good()))) == original
    for switches in (["-S"], [], ["-tt"], ["-ttt"]):
        assert fingerprint(conversation_of(listing(good(), *switches))).keys == original.keys


def test_a_listing_whose_relative_numbers_have_no_beginning(original: Fingerprint) -> None:
    """Such numbers are every student's: only timestamps and times are evidence."""
    lines = listing(good()).splitlines(keepends=True)[4:]
    cut_off = fingerprint(conversation_of(b"".join(lines)))
    assert common(original, cut_off) == BY_TIMESTAMPS | {TIMES}
    assert not cut_off.evidence & RANDOM_NUMBERS
    other = listing(good(THREE)).splitlines(keepends=True)[4:]
    assert not common(cut_off, fingerprint(conversation_of(b"".join(other))))


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(0, 61),
    size=st.integers(8, 69),
    shift=st.integers(-(10**9), 10**9),
    stretch=st.floats(0.1, 10),
    port=st.integers(1, 65535).filter(lambda port: port != 22),
    addresses=st.tuples(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1)).filter(lambda pair: pair[0] != pair[1]),
)
def test_any_part_anywhere_at_any_time(  # noqa: PLR0913
    original: Fingerprint, start: int, size: int, shift: int, stretch: float, port: int, addresses: tuple[int, int]
) -> None:
    change = in_turn(cut(start, start + size), retimed(shift * 1000, stretch), readdressed(*addresses, port))
    assert common(original, of(change(good()))) >= {NUMBERS}


@pytest.mark.parametrize(("count", "jitter"), [(2000, 0.1), (300, 0.02)])
def test_honest_students_share_no_key(count: int, jitter: float) -> None:
    """All within one and a half hours."""
    owners: dict[int, int] = {}
    whole = 0
    for student, conversation in enumerate(honest(count, seed=1, jitter=jitter)):
        found = fingerprint(conversation)
        whole += found.evidence == RANDOM_NUMBERS | RANDOM_TIMESTAMPS
        for key in found.keys:
            assert owners.setdefault(key, student) == student
    assert whole > 0.9 * count  # the others' numbers happen to be small, and are left out


def test_the_good_captures_share_no_key(original: Fingerprint) -> None:
    assert not common(original, of(good(THREE)))


def scripted(gap: int) -> list[Frame]:
    return [replace(frame, time=good()[0].time + at * gap) for at, frame in enumerate(good())]


@pytest.mark.parametrize("gap", [0, 1000, 137_000, 1_000_000])
def test_times_at_equal_distances_are_no_evidence(gap: int) -> None:
    assert TIMES not in kinds(set(of(scripted(gap)).keys))


def test_times_in_whole_milliseconds_are_no_evidence() -> None:
    """But for one frame, so that the milliseconds are no common divisor."""
    frames = [replace(frame, time=frame.time // 10**6 * 10**6 + (at == 5) * 1000) for at, frame in enumerate(good())]
    assert TIMES not in kinds(set(of(frames).keys))


def test_chance() -> None:
    gaps = np.array([12, 140, 2000, 2000, 4567, 4567, 12, 4567, 123_456, -5, 0])
    assert chance(gaps).tolist() == [1, 5, 0, 0, 8, 0, 1, 0, 8, 0, 0]
    assert chance(gaps[:0]).tolist() == []
    assert not chance(np.array([50, 100, 150, 50])).any()


@pytest.mark.parametrize(
    "isns",
    [(0, 2_222_222_222), (2_222_222_222, 1000), (7, 7), (1_234_567_891, 1_234_567_891), (123_456_000, 987_654_000)],
)
def test_isns_chosen_by_hand_are_no_evidence(isns: tuple[int, int]) -> None:
    base = of_frames(good()).numbers.base
    chosen = of(numbers_shifted(isns[0] - base[0], isns[1] - base[1])(good()))
    assert not kinds(set(chosen.keys)) & {ISNS, *BY_NUMBERS}
    assert chosen.evidence == RANDOM_TIMESTAMPS


def test_the_uptime_of_a_host_is_no_evidence() -> None:
    """Timestamps without an offset: everybody starts the virtual machine and then does the lab."""
    first = of_frames(good()).segments_columns.tsval[0]
    young = of(timestamps_shifted(550_000 - int(first))(good()))
    assert not kinds(set(young.keys)) & BY_TIMESTAMPS


def test_a_large_connection(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As few keys and rows as of a small one; half of it shares some."""
    path = tmp_path_factory.mktemp("large") / "x.pcap"
    make_capture(path, 20_000, 1, 3)
    whole = conversation_of(path.read_bytes())
    found = fingerprint(whole)
    assert len(found.keys) == MOST_KEYS
    assert MOST_ROWS // 2 < len(found.table) <= MOST_ROWS
    rows = np.arange(6_000, 16_000)
    (half,) = conversations(whole.segments_columns.take(rows))
    assert common(found, fingerprint(half)) & BY_NUMBERS


def test_a_connection_of_one_segment() -> None:
    """It has keys or not, and does not fail."""
    for row in (0, 1, 2, 68):
        assert len(of(good()[row : row + 1]).table) == 1
    assert not of(good()[:1]).keys
