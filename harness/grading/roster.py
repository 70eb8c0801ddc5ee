"""The roster: who takes the course, and who works with whom."""

import csv
import io
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harness.errors import HarnessError, one_line

ID_COLUMNS = ("student", "id", "email", "username", "sid")  # the first that is there
PARTNER_COLUMNS = ("partner", "partners")
MAX_ID = 100  # characters
MAX_ROSTER = 16 << 20  # bytes
_MAX_NAME = 255 - 55  # bytes of a file's name (NAME_MAX), and room for what stands beside an id in it


@dataclass(frozen=True, slots=True)
class Student:
    """One student.

    Attributes:
        id: unique on the roster; safe as a folder's name.
        name: as people say it; empty if the roster has none.
        partners: the ids of those whom this line of the roster declares as partners.
    """

    id: str
    name: str = ""
    partners: tuple[str, ...] = ()


def why_unsafe(student: str) -> str | None:
    """Why a text cannot be a student's id, which becomes the name of a folder and of a file; None if it can."""
    if not student:
        return "is empty"
    if len(student) > MAX_ID or len(student.encode(errors="replace")) > _MAX_NAME:
        return f"is longer than {MAX_ID} characters or {_MAX_NAME} bytes"
    if student != student.strip() or not student.isprintable():
        return "has a character that is not printable, or a space at its begin or end"
    if "/" in student or "\\" in student:
        return "has a path separator"
    if student[0] in ".-":
        return f"begins with {student[0]!r}"
    return None


def read_roster(path: Path) -> tuple[Student, ...]:
    """Read a roster: CSV (RFC 4180) in UTF-8, with a header.

    The id stands in the first of `ID_COLUMNS` that is there; `name` and `partner` or `partners` (ids, separated by
    semicolons or spaces) may stand beside it, and whatever else.

    Raises:
        HarnessError: one line with the file, the line, and what is wrong there.
    """
    return parse_roster(_text_of(path), str(path))


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROSTER + 1)
        if len(data) > MAX_ROSTER:
            raise HarnessError(f"{path}: larger than {MAX_ROSTER >> 20} MiB: is this the roster?")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HarnessError(f"{path}:{line}: not UTF-8 text; save the roster as CSV in UTF-8") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise HarnessError(f"{path}: cannot read the roster: {why}") from None


def parse_roster(text: str, name: str) -> tuple[Student, ...]:
    """The students of a roster's text; *name* is for messages.

    Raises:
        HarnessError: as `read_roster`.
    """
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)

    def bad(why: str, line: int = 0) -> NoReturn:
        raise HarnessError(f"{name}:{line or max(rows.line_num, 1)}: {why}") from None

    lines: dict[str, int] = {}
    found: list[dict[str, str]] = []
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        columns = _columns(header, bad)
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if any(cells[len(header) :]):
                bad(f"{len(row)} fields, but the header has {len(header)}; a comma within a field needs quotes")
            said = {what: cells[place] if place < len(cells) else "" for what, place in columns.items()}
            if why := why_unsafe(said["id"]):
                bad(f"the student's id {one_line(repr(said['id']), 60)} {why}")
            if said["id"] in lines:
                bad(f"{said['id']} stands in line {lines[said['id']]} already")
            lines[said["id"]] = rows.line_num
            found.append(said)
    except csv.Error as error:
        bad(f"not CSV: {error}")
    if not found:
        bad("no student stands below the header")
    students = tuple(Student(said["id"], said.get("name", ""), _partners(said, lines)) for said in found)
    for student in students:
        for partner in student.partners:
            if partner not in lines:
                what = one_line(repr(partner), 60)
                bad(f"{student.id}'s partner {what} is not the id of a student of this roster", lines[student.id])
    return students


def _columns(header: list[str], bad: Callable[[str], NoReturn]) -> dict[str, int]:
    """Where the id, the name and the partners stand."""
    if not any(header):
        bad(f"no header; expected one with a column {ID_COLUMNS[0]} (or {', '.join(ID_COLUMNS[1:])})")
    columns = {}
    for what, names in (("id", ID_COLUMNS), ("name", ("name",)), ("partners", PARTNER_COLUMNS)):
        for column in [name for name in names if name in header][:1]:
            if header.count(column) > 1:
                bad(f"the header has the column {column} twice")
            columns[what] = header.index(column)
    if "id" not in columns:
        bad(f"no column of {', '.join(ID_COLUMNS)} in the header, which has: {one_line(', '.join(header), 80)}")
    return columns


def _partners(said: dict[str, str], ids: Container[str]) -> tuple[str, ...]:
    """The declared partners, without the student; an id may hold spaces where semicolons separate."""
    words: list[str] = []
    for piece in map(str.strip, said.get("partners", "").split(";")):
        words += [piece] if piece in ids else piece.split()
    return tuple(word for word in dict.fromkeys(words) if word != said["id"])


def partner_pairs(students: tuple[Student, ...]) -> frozenset[frozenset[str]]:
    """The pairs of students who work together, declared by either of them."""
    return frozenset(frozenset((student.id, partner)) for student in students for partner in student.partners)
