"""gradebook.db: what is kept, and what is found in it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.grading.assessing import Assessed
from harness.grading.fingerprints import fingerprint
from harness.grading.graded import Flag, Graded, Lateness
from harness.grading.results import Check, Results
from harness.grading.store import NAME, Store, open_store
from tests.unit.copying import honest

CHECKS = (Check("one", "One", 3, 3, "passed", (1, 2), ""), Check("two", "Two", 4, 0, "failed", (), "why: <b>\n"))
GRADED = Graded(
    "ann",
    "ann.zip",
    "00ff",
    Results("handshake", None, {"initiator": "a:1", "initiator_isn": None}, CHECKS),
    ("line ─▶", "line"),
    "wire",
    (Flag("copy", "of whom", (4, 5)),),
    ("a problem",),
    Lateness(3600, 1.5),
)


CONNECTIONS = [fingerprint(connection) for connection in honest(4, 1)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new one."""
    with open_store(tmp_path, "rubric 1", resume=False) as opened:
        yield opened


def assessed(graded: Graded, content: str = "x", connections: tuple[int, ...] = ()) -> Assessed:
    """As a worker sends it."""
    results = graded.results
    return Assessed(
        graded.student,
        graded.dumps(),
        (graded.source, content, results.outcome, graded.score, results.max_score, graded.provenance),
        tuple((check.id, check.outcome, check.score) for check in results.checks),
        {},
        tuple(CONNECTIONS[number] for number in connections),
    )


def of(student: str) -> Graded:
    return Graded(student, student, "x", Results("handshake", None, None, CHECKS))


@pytest.mark.parametrize("graded", [GRADED, of("bob"), Graded("eve", "e", "", Results("l", "p", None, (), "cause"))])
def test_what_is_dumped_is_loaded(graded: Graded) -> None:
    loaded = Graded.loads(graded.dumps())
    assert loaded == graded
    assert loaded.dumps() == graded.dumps()
    assert (loaded.score, loaded.results.outcome) == (graded.score, graded.results.outcome)


def test_what_is_put_is_there(store: Store) -> None:
    store.put([assessed(of("zoe")), assessed(GRADED), Assessed("unchanged")])
    assert [one.student for one in store.graded()] == ["ann", "zoe"]
    assert next(store.graded()) == GRADED
    flagged = next(store.graded(lambda student: (Flag("late", student),)))
    assert flagged.flags == (*GRADED.flags, Flag("late", "ann"))
    assert store.known() == {"ann": "x", "zoe": "x"}


def test_what_is_put_again_replaces(store: Store) -> None:
    store.put([assessed(of("ann"), "old", (0,)), assessed(of("bob"), "b", (0,))])
    assert [group.students for group in store.copies(())] == [("ann", "bob")]
    store.put([assessed(of("ann"), "new", (1,))])
    assert store.known() == {"ann": "new", "bob": "b"}
    assert store.copies(()) == []
    store.forget_all_but(["bob"])
    assert [one.student for one in store.graded()] == ["bob"]


def test_another_rubric_knows_nothing(tmp_path: Path) -> None:
    for judged_by in ("one", "two", "one"):
        with open_store(tmp_path, judged_by, resume=True) as opened:
            assert opened.known() == {}
            opened.put([assessed(GRADED)])
            assert opened.known() == {"ann": "x"}


def test_copies_of_submissions_with_two_captures(store: Store) -> None:
    """Both parts may be of one connection; with another student's they are one pair."""
    store.put([assessed(of("ann"), "a", (0, 0)), assessed(of("bob"), "b", (1, 0)), assessed(of("cat"), "c", (2, 2))])
    (group,) = store.copies(())
    assert group.students == ("ann", "bob")
    assert [(pair.one, pair.two) for pair in group.pairs] == [("ann", "bob")]
    assert store.copies([frozenset(("ann", "bob"))]) == []


def test_partners_are_compared_with_others(store: Store) -> None:
    store.put([assessed(of(student), "x", (3,)) for student in ("ann", "bob", "cat")])
    (group,) = store.copies([frozenset(("ann", "bob"))])
    assert {frozenset((pair.one, pair.two)) for pair in group.pairs} <= {
        frozenset(("ann", "cat")),
        frozenset(("bob", "cat")),
    }
    assert "cat" in group.students


def test_an_earlier_gradebook(tmp_path: Path) -> None:
    """It is not overwritten, unless nobody is in it yet."""
    for _ in range(2):
        with open_store(tmp_path, "x", resume=False) as opened:
            pass
    with open_store(tmp_path, "x", resume=False) as opened:
        opened.put([assessed(GRADED)])
    with pytest.raises(HarnessError, match="go on with it by --resume"), open_store(tmp_path, "x", resume=False):
        pass


@pytest.mark.parametrize("content", [b"hello, world" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(HarnessError, match=r"gradebook\.db: "), open_store(tmp_path, "x", resume=True):
        pass
    assert (tmp_path / NAME).read_bytes() == content


def test_another_programs_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as database:
        database.execute("CREATE TABLE meta (value)")
    with (
        pytest.raises(HarnessError, match=r"not a gradebook of \./invoke grade"),
        open_store(tmp_path, "x", resume=True),
    ):
        pass


def test_two_gradings_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told, and changes nothing."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=timeout / 50))
    with open_store(tmp_path, "x", resume=True) as one:
        one._database.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(HarnessError, match="another grading at work"),
            open_store(tmp_path, "x", resume=True) as two,
        ):
            two.put([assessed(GRADED)])
