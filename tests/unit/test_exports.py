"""The exports, field by field against what each system documents."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.grading.exports.naming import file_name
from harness.grading.exports.systems import EXPORTS, export
from harness.grading.graded import Flag, Graded, Lateness
from harness.grading.results import Check, Results

PASSED = Check("a", "A check", 4, 4, "passed", (1, 2), "")
FAILED = Check("b", "Another <check>", 3, 0, "failed", (3,), "frame 3 (initiator) ack 7, but expected 8")
NOT_SHOWN = Check("c", "A third", 2, 0, "not-shown", (), "not shown: the capture does not show it")
NOT_JUDGED = Check("d", "A fourth", 1, None, "not-judged", (), "could not be judged: KeyError: 'x'")
FLAGS = (Flag("copy", "the same packets as mallory"),)


def graded(student: str, *checks: Check, lateness: Lateness | None = None, cause: str = "") -> Graded:
    results = Results("handshake", None, None, checks, cause)
    return Graded(student, f"{student}/capture.pcap", "ab" * 32, results, flags=FLAGS, lateness=lateness)


ALICE = graded("alice", PASSED, FAILED, NOT_SHOWN)
BOB = graded("bob@example.org", PASSED, FAILED, NOT_SHOWN, lateness=Lateness(3600, 1.25))
CAROL = graded("carol", PASSED, FAILED, NOT_JUDGED)
DAVE = graded("dave", cause="no capture in it")
CLASS = (ALICE, BOB, CAROL, DAVE)

text = st.text(max_size=30)
foreign = st.builds(
    Graded,
    student=text,
    source=text,
    content=text,
    results=st.builds(
        Results,
        text,
        st.none(),
        st.none(),
        st.lists(
            st.builds(Check, text, text, st.integers(0, 9), st.just(0), st.just("failed"), st.just((1,)), text),
            max_size=3,
        ).map(tuple),
        text,
    ),
    problems=st.lists(text, max_size=3).map(tuple),
)


def files(system: str, *submissions: Graded, lab: str = "handshake") -> dict[str, bytes]:
    made = list(export(system, lab, submissions))
    assert len(dict(made)) == len(made)
    return dict(made)


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))


def documents(*submissions: Graded) -> list[dict[str, Any]]:
    return [json.loads(content) for content in files("gradescope", *submissions).values()]


def test_gradescope_paths() -> None:
    """One results.json a student."""
    assert list(files("gradescope", *CLASS)) == [
        f"gradescope/handshake/{student}/results.json" for student in ("alice", "bob@example.org", "carol", "dave")
    ]


def test_gradescope_documents_have_the_documented_shape() -> None:
    """Names, types and words of the autograder specification."""
    top: dict[str, Any] = {
        "score": (int, float),
        "output": str,
        "output_format": str,
        "visibility": str,
        "stdout_visibility": str,
        "extra_data": dict,
        "tests": list,
    }
    test: dict[str, Any] = {
        "score": (int, float),
        "max_score": int,
        "status": str,
        "name": str,
        "number": str,
        "output": str,
        "output_format": str,
        "tags": list,
        "visibility": str,
        "extra_data": dict,
    }
    for document in documents(*CLASS):
        for shape, value in [(top, document), *((test, one) for one in document.get("tests", []))]:
            assert set(value) <= set(shape)
            assert all(isinstance(value[key], shape[key]) for key in value)
            assert value["output_format"] in {"text", "html", "simple_format", "md", "ansi"}
            assert value["visibility"] in {"hidden", "after_due_date", "after_published", "visible"}
            assert value.get("status", "passed") in {"passed", "failed"}
        assert document["stdout_visibility"] == "hidden"


def test_gradescope_marks() -> None:
    """The mark stands on top, as it is after the penalty; each check tells its own points."""
    alice, bob, _, _ = documents(*CLASS)
    assert (alice["score"], bob["score"]) == (4, 2.75)
    assert [(one["score"], one["max_score"], one["status"], one["number"]) for one in alice["tests"]] == [
        (4, 4, "passed", "1"),
        (0, 3, "failed", "2"),
        (0, 2, "failed", "3"),
    ]
    assert alice["tests"][1]["name"] == "Another <check>"
    assert alice["tests"][1]["output"] == "✗ failed: frame 3 (initiator) ack 7, but expected 8"
    assert alice["tests"][1]["extra_data"] == {"id": "b", "frames": [3]}
    assert alice["tests"][1]["tags"] == ["failed"]
    assert "1 h late" in bob["output"]


def test_gradescope_gives_no_mark_where_there_is_none() -> None:
    """No score on top, none on a test, so that none is summed up; a check that was not judged has no status."""
    for document in documents(CAROL, DAVE):
        assert "score" not in document
        assert all("score" not in one for one in document.get("tests", []))
        assert document["extra_data"]["outcome"] == "not-judged"
        assert "Could not be judged" in document["output"]
    carol, dave = documents(CAROL, DAVE)
    assert [one.get("status") for one in carol["tests"]] == ["passed", "failed", None]
    assert "tests" not in dave
    assert "no capture in it" in dave["output"]


def test_canvas() -> None:
    """The header, the row Points Possible, a row a student; an empty grade where there is none."""
    ((path, content),) = files("canvas", *CLASS).items()
    assert path == "canvas/handshake.csv"
    assert table(content) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "handshake"],
        ["    Points Possible", "", "", "", "", "9"],
        ["alice", "", "", "alice", "", "4"],
        ["bob@example.org", "", "", "bob@example.org", "", "2.75"],
        ["carol", "", "", "carol", "", ""],
        ["dave", "", "", "dave", "", ""],
    ]


def test_canvas_has_one_row_points_possible() -> None:
    """Canvas takes any row whose first cell says so for it."""
    rows = table(files("canvas", replace(ALICE, student="Points Possible"))["canvas/handshake.csv"])
    assert ["Points Possible" in row[0] for row in rows] == [False, True, False]


def test_moodle() -> None:
    """Student, grade, feedback; an empty grade where there is none; the feedback is no HTML."""
    ((path, content),) = files("moodle", *CLASS).items()
    assert path == "moodle/handshake.csv"
    head, *rows = table(content)
    assert head == ["Username", "handshake", "handshake (feedback)"]
    assert [row[:2] for row in rows] == [["alice", "4"], ["bob@example.org", "2.75"], ["carol", ""], ["dave", ""]]
    assert "handshake: 4 of 9 points" in rows[0][2]
    assert "✗ failed 0/3 Another &lt;check&gt;: frame 3 (initiator) ack 7, but expected 8" in rows[0][2]
    assert "<" not in content.decode()
    assert "no capture in it" in rows[3][2]


def test_autolab() -> None:
    """The last line is the autoresult; null, not 0 and not nothing, where there is no mark."""
    made = files("autolab", *CLASS)
    *paths, last = made
    assert paths == [f"autolab/handshake/{s}.txt" for s in ("alice", "bob@example.org", "carol", "dave")]
    results = [json.loads(made[path].decode().rstrip().splitlines()[-1]) for path in paths]
    assert results == [
        {"scores": {"handshake": 4}, "scoreboard": [4]},
        {"scores": {"handshake": 2.75}, "scoreboard": [2.75]},
        {"scores": {"handshake": None}},
        {"scores": {"handshake": None}},
    ]
    assert "✗ failed 0/3 Another <check>: frame 3" in made[paths[0]].decode()
    assert last == "autolab/handshake.csv"
    assert table(made[last]) == [
        ["alice", "4", ""],
        ["bob@example.org", "2.75", ""],
        ["carol", "", ""],
        ["dave", "", ""],
    ]


def test_autolab_survives_what_autolab_does_to_its_line() -> None:
    """It puts quotes around each word before a colon (`parseAutoresult`)."""
    import re

    (line,) = files("autolab", ALICE, lab="week 3:handshake")["autolab/week%203%3Ahandshake/alice.txt"].splitlines()[
        -1:
    ]
    mangled = re.sub(r"([a-zA-Z0-9]+):", r'"\1":', line.decode())
    assert json.loads(mangled)["scores"] == {"week 3-handshake": 4}


@pytest.mark.parametrize("system", sorted(EXPORTS))
def test_flags_are_not_exported(system: str) -> None:
    """They are the teacher's; students read what these systems show."""
    assert b"mallory" not in b"".join(files(system, *CLASS).values())


@pytest.mark.parametrize("system", sorted(EXPORTS))
def test_submissions_are_taken_as_they_come(system: str) -> None:
    """What is for one student comes before the next is graded; an empty class makes no fuss."""
    taken: list[str] = []

    def coming() -> Iterator[Graded]:
        for one in CLASS:
            taken.append(one.student)
            yield one

    first, _ = next(export(system, "handshake", coming()))
    assert taken == (["alice"] if "alice" in first else [one.student for one in CLASS])
    assert len(files(system)) == (0 if system == "gradescope" else 1)


def test_unknown_system() -> None:
    """The known ones are named, at once."""
    with pytest.raises(
        HarnessError, match="no export for 'blackboard'; there are: autolab, canvas, gradescope, moodle"
    ):
        export("blackboard", "handshake", [])


@pytest.mark.parametrize("system", sorted(EXPORTS))
def test_a_student_stands_there_once(system: str) -> None:
    """Which of two marks counts is not for the order of files to say."""
    with pytest.raises(HarnessError, match="the student 'alice' stands there twice"):
        list(export(system, "handshake", [ALICE, BOB, ALICE]))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("alice", "alice"),
        ("Bob_1-2.x@example.org", "Bob_1-2.x@example.org"),
        ("a/../b", "a%2F..%2Fb"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("a~b", "a%7Eb"),
        ("%2F", "%252F"),
        ("C:\\x", "C%3A%5Cx"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_file_names(name: str, safe: str) -> None:
    """What is no letter, digit, or one of four signs is percent-encoded."""
    assert file_name(name) == safe


@pytest.mark.parametrize("name", ["", ".", "..", ".ssh", "a.", "x" * 101, "é" * 40])
def test_awkward_file_names_carry_a_hash(name: str) -> None:
    """None is hidden, endless, or another folder; no other name can look so."""
    safe = file_name(name)
    assert "~" in safe
    assert not safe.startswith(".")
    assert len(safe) <= 140
    assert file_name(safe) != safe


@given(
    st.lists(
        st.one_of(text, st.sampled_from(["", ".", "..", "~", "%7E", "a" * 200, "a" * 201])), unique=True, max_size=8
    )
)
def test_names_never_share_a_file(names: list[str]) -> None:
    """And each is one part of a path."""
    made = [file_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(len(PurePosixPath(name).parts) == 1 and name not in {".", ".."} and name.isascii() for name in made)


@settings(max_examples=60)
@given(st.sampled_from(sorted(EXPORTS)), text, st.lists(foreign, max_size=3, unique_by=lambda one: one.student))
def test_any_text_makes_whole_files(system: str, lab: str, submissions: list[Graded]) -> None:
    """Hostile names and messages: every path inside, JSON and CSV whole, a row a student, no formula, no control."""
    for path, content in export(system, lab, submissions):
        assert path.startswith(f"{system}/")
        assert not {"..", ".", ""} & set(path.split("/"))
        assert content.decode("utf-8").replace("\n", "").isprintable()
        if path.endswith(".json"):
            assert all(
                ord(c) > 31 and not 0xD800 <= ord(c) < 0xE000 for c in json.loads(content)["output"].replace("\n", "")
            )
        elif path.endswith(".txt"):
            assert json.loads(content.splitlines()[-1])
        else:
            rows = table(content)
            assert len(rows) == len(submissions) + {"canvas": 2, "moodle": 1, "autolab": 0}[system]
            assert len({len(row) for row in rows}) <= 1
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)
