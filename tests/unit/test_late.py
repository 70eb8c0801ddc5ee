"""The late policy: its file, and the arithmetic."""

from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.grading.graded import Lateness
from harness.grading.late import Amount, LatePolicy, lateness, read_late_policy

DUE = datetime.fromisoformat("2026-11-20T23:59:00+01:00").timestamp()
DAY = 86400
FULL = """
due: 2026-11-20T23:59:00+01:00
grace: 15m
per: day
penalty: 10%
of: maximum
max_penalty: 50%
closes: 2026-11-27T22:59:00Z
"""


@pytest.fixture
def policy(tmp_path: Path) -> LatePolicy:
    path = tmp_path / "late.yaml"
    path.write_text(FULL, encoding="utf-8")
    return read_late_policy(path)


def read(tmp_path: Path, text: str) -> LatePolicy:
    path = tmp_path / "late.yaml"
    path.write_text(text, encoding="utf-8")
    return read_late_policy(path)


def test_reads_every_key(policy: LatePolicy) -> None:
    """Times in UTC, spans in seconds, amounts exact."""
    ten, fifty = Amount(Fraction(10), percent=True), Amount(Fraction(50), percent=True)
    assert policy == LatePolicy(
        Fraction(DUE), 900, DAY, ten, of_earned=False, max_penalty=fifty, closes=Fraction(DUE) + 7 * DAY
    )


def test_only_due_is_required(tmp_path: Path) -> None:
    """Then lateness is told, and costs nothing."""
    policy = read(tmp_path, "due: 2026-11-20T22:59:00Z")
    assert policy == LatePolicy(Fraction(DUE))
    assert lateness(policy, DUE + 61.5, 100, 90) == Lateness(62, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping"),
        ("- a", "expected a mapping"),
        ("grace: 15m", "missing key 'due'"),
        ("due: 2026-11-20T23:59:00", "with its offset from UTC"),
        ("due: 2026-11-20 23:59", "with its offset from UTC"),
        ("due: 2026-11-20", "expected a time such as"),
        ("due: tomorrow", "due: expected a time such as 2026-11-20T23:59:00+01:00, found 'tomorrow'"),
        ("due: 2026-11-31T23:59:00Z", "expected a time"),
        ("due: 2026-11-20T23:59:00+99:00", "expected a time"),
        ("due: 2026-11-20T23:59:00Z\nfine: 3", ":2: unknown key 'fine'; known are: due, grace"),
        ("due: 2026-11-20T23:59:00Z\n? [a]\n: 3", ":2: expected one value"),
        ("due: 2026-11-20T23:59:00Z\ndue: 2026-11-20T23:59:00Z", "duplicate key 'due'"),
        ("due: 2026-11-20T23:59:00Z\ngrace: 15", "grace: expected a time span such as 15m"),
        ("due: 2026-11-20T23:59:00Z\ngrace: -15m", "grace: expected a time span"),
        ("due: 2026-11-20T23:59:00Z\nper: week", "per: expected day or hour, found 'week'"),
        ("due: 2026-11-20T23:59:00Z\nof: all", "of: expected maximum or earned"),
        ("due: 2026-11-20T23:59:00Z\npenalty: ten", "penalty: expected a percentage such as 10%"),
        ("due: 2026-11-20T23:59:00Z\npenalty: -5", "penalty: expected"),
        ("due: 2026-11-20T23:59:00Z\npenalty: 101%", "at most 100%"),
        ("due: 2026-11-20T23:59:00Z\npenalty: .inf", "penalty: expected"),
        ("due: 2026-11-20T23:59:00Z\npenalty:", "penalty: expected"),
        ("due: 2026-11-20T23:59:00Z\npenalty: [10%]", "expected one value"),
        ("due: 2026-11-20T23:59:00Z\ncloses: 2026-11-20T22:59:00Z", "closes: expected a time not before due"),
        ("due: 2026-11-20T23:59:00Z\npenalty: &a 10%\nmax_penalty: *a", ":3: an alias (*name) is not allowed"),
        ("due: &d [*d]", "expected one value"),
        ("due: [", "late.yaml:1:"),
        ("due: " + "9" * 8200, "larger than 8192 bytes"),
        ("[" * 8000, "late.yaml"),
        ("due: \x07", "not YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """The file, the key, what was expected."""
    with pytest.raises(HarnessError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "late.yaml"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, no text, no file name."""
    (tmp_path / "late.yaml").write_bytes(b"\xff\xfe")
    for path, said in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "late.yaml", "not UTF-8"),
        (tmp_path / "a\0b", "cannot read"),
    ):
        with pytest.raises(HarnessError, match=said):
            read_late_policy(path)


@pytest.mark.parametrize(
    ("after", "seconds", "penalty"),
    [
        (-100.0, 0, 0),
        (0.0, 0, 0),
        (900.0, 0, 0),  # the last moment of the grace
        (900.25, 1, 10),
        (900.0 + DAY, DAY, 10),
        (901.0 + DAY, DAY + 1, 20),
        (900.0 + 6 * DAY, 6 * DAY, 50),  # the most
        (7.0 * DAY, 7 * DAY - 900, 50),  # the last moment
        (7.0 * DAY + 1, 7 * DAY - 899, 90),  # closed: all that was earned
    ],
)
def test_a_period_costs_once_it_began(policy: LatePolicy, after: float, seconds: int, penalty: float) -> None:
    """Grace, the first day, the second, the most, the end."""
    assert lateness(policy, DUE + after, 100, 90) == Lateness(seconds, penalty)


def test_nobody_knows_when(policy: LatePolicy) -> None:
    """Then there is no penalty."""
    assert lateness(policy, None, 100, 90) == Lateness(0, 0)


@pytest.mark.parametrize(
    ("keys", "earned", "penalty"),
    [
        ("penalty: 10%", 90, 10),
        ("penalty: 10%\nof: earned", 90, 9),
        ("penalty: 5", 90, 5),
        ("penalty: 5\nof: earned", 90, 5),
        ("penalty: 5\nper: hour", 90, 15),
        ("penalty: 5\nper: hour\nmax_penalty: 12.5", 90, 12.5),
        ("penalty: 5\nper: hour\nmax_penalty: 10%\nof: earned", 90, 9),
        ("penalty: 10%", 4, 4),  # never more than was earned
        ("penalty: 33.3333%", 90, 33.33),
        ("penalty: 0.125%\nof: earned", 100, 0.12),  # a half goes to the even neighbour
        ("penalty: 0.375%\nof: earned", 100, 0.38),
    ],
)
def test_kinds_of_penalty(tmp_path: Path, keys: str, earned: int, penalty: float) -> None:
    """Percent of the maximum or of what was earned, or points; two hours and a half late."""
    policy = read(tmp_path, f"due: 2026-11-20T22:59:00Z\n{keys}")
    assert lateness(policy, DUE + 9000, 100, earned).penalty == penalty


@given(st.floats(0, 4e9), st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_never_more_than_was_earned(came: float, most: int, earned: int, of_earned: bool) -> None:
    """Between nothing and all; a later moment never costs less."""
    policy = LatePolicy(
        Fraction(DUE), 60, 3600, Amount(Fraction("0.7"), percent=True), of_earned, closes=Fraction(DUE) + DAY
    )
    one, later = (lateness(policy, moment, most, earned) for moment in (came, came + 5000))
    assert 0 <= one.penalty <= later.penalty <= earned
    assert round(one.penalty * 100) == pytest.approx(one.penalty * 100)
    assert (one.seconds == 0) <= (one.penalty == 0)
