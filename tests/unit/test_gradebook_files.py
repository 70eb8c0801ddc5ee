"""The gradebook's CSV."""

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.grading.graded import Flag, Graded, Lateness
from harness.grading.results import Check, Results
from harness.reports.gradebook import cell, gradebook_csv, number, printable

PASSED = Check("a", "A check", 4, 4, "passed", (1, 2), "")
FAILED = Check("b", "Another check", 3, 0, "failed", (3,), "frame 3 (initiator) ack 7, but expected 8")
NOT_JUDGED = Check("d", "A fourth", 1, None, "not-judged", (), "could not be judged: KeyError: 'x'")


def one(student: str, *checks: Check, lateness: Lateness | None = None, flags: tuple[Flag, ...] = ()) -> Graded:
    results = Results("handshake", None, None, checks or (PASSED, FAILED))
    return Graded(student, f"{student}/capture.pcap", "0" * 64, results, flags=flags, lateness=lateness)


def rows(*graded: Graded) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(gradebook_csv(graded)), newline=""), strict=True))


def test_columns_and_rows() -> None:
    """The contract, to the letter; a flag of one kind is named once, in the order seen."""
    flags = (Flag("copy", "of bob"), Flag("bad-checksum", "frame 3"), Flag("copy", "of eve"))
    text = "".join(gradebook_csv([one("alice", flags=flags)]))
    assert text == "student,score,max,outcome,provenance,flags\nalice,4,7,failed,none,copy;bad-checksum\n".replace(
        "copy;bad-checksum", '"copy;bad-checksum"'
    )
    assert rows(one("alice", flags=flags))[0]["flags"].split(";") == ["copy", "bad-checksum"]


def test_what_could_not_be_judged_has_no_score() -> None:
    """An empty cell, not 0; the maximum stays."""
    (row,) = rows(one("alice", PASSED, NOT_JUDGED))
    assert (row["score"], row["max"], row["outcome"]) == ("", "5", "not-judged")


def test_the_penalty_is_taken_off() -> None:
    """Two digits at most, and never below 0."""
    assert rows(one("alice", lateness=Lateness(1, 1.35)))[0]["score"] == "2.65"
    assert rows(one("alice", lateness=Lateness(1, 9)))[0]["score"] == "0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((100, "100"), (0, "0"), (87.5, "87.5"), (100.0, "100"), (66.67000000000002, "66.67"), (0.1 + 0.2, "0.3")),
        *((-0.0, "0"), (1e15, "1000000000000000"), (None, "")),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    """As a person writes them."""
    assert number(value) == text


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r=", "\n@", "＝", "＋", "－", "＠"])
def test_no_cell_is_a_formula(first: str) -> None:
    """A spreadsheet must not run what a student is called."""
    (row,) = rows(one(first + 'cmd|"/C calc"!A0'))
    assert row["student"].startswith("'")


def test_a_number_stays_a_number() -> None:
    """A score is never taken for a text."""
    assert cell("12345") == "12345"
    assert ",4,7," in "".join(gradebook_csv([one("alice")]))


@pytest.mark.parametrize("text", ["a,b", 'say "a"', "a;=1+1", "Müller, Ann", "李雷", ""])
def test_printable_names_survive(text: str) -> None:
    """What is printable comes back as it was."""
    assert rows(one(text))[0]["student"] == text


def test_a_row_comes_before_the_next_submission_is_graded() -> None:
    """A class is not collected."""
    taken: list[str] = []

    def graded() -> Iterator[Graded]:
        for name in ("alice", "bob"):
            taken.append(name)
            yield one(name)

    lines = gradebook_csv(graded())
    assert next(lines).startswith("student,")
    assert next(lines).startswith("alice,")
    assert taken == ["alice"]


@given(st.text(max_size=40), st.lists(st.text(max_size=10), max_size=3))
def test_any_text_makes_one_row(student: str, kinds: list[str]) -> None:
    """One line a row, six fields, encodable, no formula; whatever the names hold."""
    text = "".join(gradebook_csv([one(student, flags=tuple(Flag(kind, "") for kind in kinds))]))
    text.encode("utf-8")
    parsed = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert text.count("\n") == len(parsed) == 2
    assert len(parsed[1]) == 6
    assert not any(field.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")) for field in parsed[1])


@given(st.text(max_size=400))
def test_printable_is_one_short_line(text: str) -> None:
    """Nothing that moves a cursor, turns the direction of writing, or cannot be encoded."""
    safe = printable(text)
    assert safe.isprintable()
    assert len(safe) <= 300
    assert printable(safe) == safe
    safe.encode("utf-8")
