"""The class summary."""

import statistics
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.grading.graded import Flag, Graded, Lateness
from harness.grading.results import Check, Results
from harness.reports.class_summary import ClassSummary, quantile

EASY = Check("easy", "An easy check", 60, 60, "passed", (), "")
HARD = Check("hard", "A hard check", 40, 40, "passed", (), "")
UNJUDGED = Check("easy", "An easy check", 60, None, "not-judged", (), "could not be judged: x")


def graded(
    student: str, *checks: Check, lateness: Lateness | None = None, flags: Sequence[str] = (), provenance: str = "none"
) -> Graded:
    results = Results("handshake", None, None, checks or (EASY, HARD))
    kinds = tuple(Flag(kind, "") for kind in flags)
    return Graded(student, student, "0" * 64, results, flags=kinds, lateness=lateness, provenance=provenance)


def text(summary: ClassSummary, width: int = 80) -> str:
    lines = [line for line, _ in summary.lines(width)]
    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)
    return "\n".join(lines)


def summary_of(*submissions: Graded) -> ClassSummary:
    summary = ClassSummary()
    for submission in submissions:
        summary.add(submission)
    return summary


def test_nothing_was_handed_in() -> None:
    """An empty class is no error."""
    assert text(ClassSummary()) == "0 submissions"


def test_counts_by_outcome_and_provenance() -> None:
    """Each outcome that occurs, with its mark and words."""
    failed = HARD._replace(score=0, outcome="failed")
    said = text(
        summary_of(
            graded("alice", provenance="wire"),
            graded("bob", EASY, failed, lateness=Lateness(5, 1)),
            graded("carol", UNJUDGED, HARD),
            graded("dave"),
        )
    )
    assert said.startswith(
        "4 submissions\n ✓      2  passed all\n ✗      1  did not pass all\n !      1  could not be judged\n"
    )
    assert "1  came late" in said
    assert "where they come from: none 3, wire 1" in said
    assert "could not be judged (1): carol" in said


def test_scores() -> None:
    """Mean, median, the middle half; ten bins, the last one with the maximum in it."""
    penalties = [0, 0, 5, 10, 95]
    said = text(summary_of(*(graded(str(n), lateness=Lateness(1, p)) for n, p in enumerate(penalties))), 60)
    assert "scores of 100 points" in said
    assert "mean 78, median 95, the middle half from 90 to 100" in said
    bars = [line for line in said.splitlines() if "│" in line]
    assert [line.split()[-1] for line in bars] == ["1", *["0"] * 8, "4"]
    assert "█" in bars[9]
    assert bars[9].count("█") > bars[0].count("█") > 0
    assert "90–100 %" in bars[9]


def test_what_could_not_be_judged_is_no_score() -> None:
    """It is not a 0 in the mean."""
    assert "mean 100, median 100" in text(summary_of(graded("a"), graded("b", UNJUDGED, HARD)))
    assert "scores" not in text(summary_of(graded("b", UNJUDGED)))


def test_different_maxima_are_compared_as_shares() -> None:
    """A live run is judged by more checks."""
    said = text(summary_of(graded("a"), graded("b", EASY), graded("c", EASY, HARD._replace(score=0, outcome="failed"))))
    assert "scores in %" in said
    assert "mean 86.67, median 100, the middle half from 80 to 100" in said


def test_a_lab_without_points() -> None:
    """No division by nothing."""
    assert "mean 0" in text(summary_of(graded("a", EASY._replace(points=0, score=0))))


def test_the_checks_that_earn_least() -> None:
    """The worst first; who could not be judged does not count; what everybody passed is not there."""
    failed, not_shown = HARD._replace(score=0, outcome="failed"), EASY._replace(score=0, outcome="not-shown")
    third = Check("third", "A third check", 1, 1, "passed", (), "")
    said = text(
        summary_of(
            graded("a", EASY, failed, third),
            graded("b", not_shown, failed, third),
            graded("c", UNJUDGED, failed, third),
            graded("d", EASY, HARD, third),
        )
    )
    rows = [line.split() for line in said.splitlines() if line.endswith("check")]
    assert rows == [
        ["75", "%", "0", "%", "A", "hard", "check"],
        ["0", "%", "33", "%", "An", "easy", "check"],
    ]


def test_flags_are_grouped_and_bounded() -> None:
    """Ten students by name, the rest as a number; the most frequent kind first; a student once a kind."""
    class_ = [graded(f"s{n}", flags=["copy", "copy"]) for n in range(22)] + [graded("eve", flags=["bad-checksum"])]
    said = text(summary_of(*class_), 200)
    assert "  copy (22): s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, … and 12 more\n  bad-checksum (1): eve" in said


@pytest.mark.parametrize("width", [60, 72, 80, 120])
def test_fits(width: int) -> None:
    """No line is longer than the width, whatever students and checks are called; nothing unprintable."""
    bad = "\x1b[31m\u202e" + "x" * 500
    check = Check(bad, bad, 100, 0, "failed", (), bad)
    said = text(summary_of(*(graded(bad + str(n), check, flags=[bad], provenance=bad) for n in range(30))), width)
    assert "x" * 20 in said


def test_memory_does_not_grow_with_the_class() -> None:
    """Neither do the lines."""
    summary = ClassSummary()

    def add(first: int, count: int) -> None:
        for n in range(first, first + count):
            penalty = n % 1000 / 10
            summary.add(graded(f"student{n}", lateness=Lateness(n, penalty), flags=[f"kind{n % 100}"]))

    add(0, 2000)
    tracemalloc.start()
    add(2000, 4000)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 50_000
    assert len(text(summary).splitlines()) < 250
    assert "of other kinds (3000)" in text(summary)


@given(st.lists(st.integers(0, 10000), min_size=2, max_size=60))
def test_quantiles_are_those_of_the_standard_library(values: list[int]) -> None:
    """From counts of values, and exact."""
    counts = Counter(Fraction(value) for value in values)
    expected = statistics.quantiles([Fraction(value) for value in values], n=4, method="inclusive")
    assert [quantile(counts, Fraction(quarter, 4)) for quarter in (1, 2, 3)] == expected
    assert quantile(counts, Fraction(1, 2)) == statistics.median([Fraction(value) for value in values])
    assert quantile(counts, Fraction(0)) == min(values)
    assert quantile(counts, Fraction(1)) == max(values)


def test_one_value_has_every_quantile() -> None:
    """And no values have none."""
    assert quantile(Counter([Fraction(7)]), Fraction(3, 4)) == 7
    with pytest.raises(ValueError, match="no values"):
        quantile(Counter(), Fraction(1, 2))
