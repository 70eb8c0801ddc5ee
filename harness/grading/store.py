"""gradebook.db: what was judged so far, so that grading can go on where it was stopped.

SQLite, one transaction a batch: it is whole at any moment, also after the power went. A teacher may query it:

    submissions   a row a student: what was handed in (its hash), outcome, score, and the whole `Graded` as JSON
    outcomes      a row a check of a submission
    fingerprints  a row a connection of a submission, and in `keys` what finds copies
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.grading.assessing import Assessed
from harness.grading.copies import Group, Pair, groups
from harness.grading.fingerprints import Fingerprint
from harness.grading.graded import Flag, Graded

NAME = "gradebook.db"
_SCHEMA = "tcp-lab/gradebook/v1"
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE submissions (
    student TEXT PRIMARY KEY, source TEXT NOT NULL, content TEXT NOT NULL, judged_by TEXT NOT NULL,
    outcome TEXT NOT NULL, score REAL, max_score INTEGER NOT NULL, provenance TEXT NOT NULL, graded TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX submissions_by_content ON submissions (content);
CREATE TABLE outcomes (
    student TEXT NOT NULL, check_id TEXT NOT NULL, outcome TEXT NOT NULL, score INTEGER, PRIMARY KEY (student, check_id)
) WITHOUT ROWID;
CREATE TABLE fingerprints (
    student TEXT NOT NULL, part INTEGER NOT NULL, fingerprint BLOB NOT NULL, PRIMARY KEY (student, part)
) WITHOUT ROWID;
CREATE TABLE keys (
    key INTEGER NOT NULL, student TEXT NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (key, student, part)
) WITHOUT ROWID;
"""


class Store:
    """An open gradebook.db."""

    def __init__(self, database: sqlite3.Connection, judged_by: str) -> None:
        self._database = database
        self._judged_by = judged_by

    def known(self) -> dict[str, str]:
        """Student → hash of what was judged, as far as it was judged by the same rubric and settings."""
        rows = self._database.execute(
            "SELECT student, content FROM submissions WHERE judged_by = ?", (self._judged_by,)
        )
        return dict(rows.fetchall())

    def put(self, judged: Iterable[Assessed]) -> None:
        """Keep what is new, in place of what was there of the same students."""
        new = [one for one in judged if one.graded is not None]
        with self._database:  # one transaction
            self._forget([one.student for one in new])
            self._insert(
                "submissions",
                ((one.student, *one.row[:2], self._judged_by, *one.row[2:], one.graded) for one in new if one.row),
            )
            self._insert("outcomes", ((one.student, *outcome) for one in new for outcome in one.outcomes))
            parts = [(one.student, part, found) for one in new for part, found in enumerate(one.fingerprints)]
            self._insert("fingerprints", ((student, part, found.to_bytes()) for student, part, found in parts))
            self._insert("keys", ((key, student, part) for student, part, found in parts for key in found.keys))

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        rows = list(rows)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - names of our own

    def forget_all_but(self, students: Iterable[str]) -> None:
        """Forget students whose submissions are there no more."""
        here = set(students)
        with self._database:
            rows = self._database.execute("SELECT student FROM submissions").fetchall()
            self._forget([student for (student,) in rows if student not in here])

    def _forget(self, students: list[str]) -> None:
        for student in students:
            if self._database.execute("DELETE FROM submissions WHERE student = ?", (student,)).rowcount:
                found = self._database.execute("SELECT fingerprint FROM fingerprints WHERE student = ?", (student,))
                keys = {(key, student) for (blob,) in found for key in Fingerprint.from_bytes(blob).keys}
                self._database.executemany("DELETE FROM keys WHERE key = ? AND student = ?", keys)
                for table in ("outcomes", "fingerprints"):
                    self._database.execute(f"DELETE FROM {table} WHERE student = ?", (student,))  # noqa: S608

    def graded(self, flags: Callable[[str], tuple[Flag, ...]] = lambda _student: ()) -> Iterator[Graded]:
        """All, in the order of their names, each with more flags."""
        rows = self._database.execute("SELECT graded FROM submissions ORDER BY student")
        for (text,) in rows:
            graded = Graded.loads(text)
            yield replace(graded, flags=(*graded.flags, *flags(graded.student)))

    def copies(self, partners: Iterable[frozenset[str]]) -> list[Group]:
        """All groups of students who handed in one connection; partners may have the same one."""
        rows = self._database.execute(
            "SELECT DISTINCT f.student, f.part, f.fingerprint FROM keys AS k JOIN fingerprints AS f"
            " ON f.student = k.student AND f.part = k.part"
            " WHERE k.key IN (SELECT key FROM keys GROUP BY key HAVING COUNT(DISTINCT student) > 1)"
        )
        items = [(_name(student, part), Fingerprint.from_bytes(found)) for student, part, found in rows]
        names = {name for name, _ in items}
        parts = {part for name in names for part in [name.partition(_SEPARATOR)[2]]}
        allowed = {
            frozenset((one + _SEPARATOR + a, two + _SEPARATOR + b))
            for one, two in [tuple(sorted(pair)) for pair in partners if len(pair) == 2]
            for a in parts
            for b in parts
        }
        allowed |= {  # the parts of one submission may be of one connection
            frozenset((name, name.partition(_SEPARATOR)[0] + _SEPARATOR + part)) for name in names for part in parts
        }
        return _by_student(groups(items, allowed))


_SEPARATOR = "\x00"


def _name(student: str, part: int) -> str:
    return f"{student}{_SEPARATOR}{part}"


def _by_student(found: list[Group]) -> list[Group]:
    """Groups of the parts of submissions → groups of students, each pair once."""
    told: list[Group] = []
    for group in found:
        pairs: dict[tuple[str, str], Pair] = {}
        for pair in group.pairs:
            one, two = (name.partition(_SEPARATOR)[0] for name in (pair.one, pair.two))
            if one != two:
                pairs.setdefault((one, two), Pair(one, two, pair.shared))
        students = tuple(dict.fromkeys(name.partition(_SEPARATOR)[0] for name in group.students))
        if pairs and not any(old.students == students for old in told):
            told.append(Group(students, tuple(pairs.values())))
    return told


@contextmanager
def open_store(folder: Path, judged_by: str, *, resume: bool) -> Iterator[Store]:
    """The gradebook.db of a folder.

    Args:
        folder: where it stands, or is to stand.
        judged_by: a digest of the rubric and of the settings: what was judged by another is judged again.
        resume: whether one that is there is to be gone on with.

    Raises:
        HarnessError: there is one and *resume* is off, or it is none of ours, or damaged, or in use.
    """
    path = folder / NAME
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        with closing(sqlite3.connect(path, timeout=5)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            _prepare(database, path)
            if not resume and database.execute("SELECT 1 FROM submissions LIMIT 1").fetchone():
                raise HarnessError(
                    f"{path}: there is a gradebook already; go on with it by --resume, or name another --out"
                )
            yield Store(database, judged_by)
    except OSError as error:
        raise HarnessError(f"{path}: cannot open the gradebook: {error.strerror}") from None
    except sqlite3.Error as error:
        raise HarnessError(f"{path}: {error}; is another grading at work there, or is the disk full?") from None


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if not tables:
        with database:
            database.executescript(f"BEGIN; {_TABLES}")
            database.execute("INSERT INTO meta VALUES ('schema', ?)", (_SCHEMA,))
    elif ("meta",) not in tables or database.execute("SELECT value FROM meta").fetchone() != (_SCHEMA,):
        raise HarnessError(f"{path}: not a gradebook of ./invoke grade ({_SCHEMA}); name another --out")
