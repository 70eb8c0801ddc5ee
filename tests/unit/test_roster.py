"""The roster: what spreadsheets write is read, and what is wrong is named by its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.grading.roster import Student, parse_roster, partner_pairs, read_roster, why_unsafe


def test_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """BOM, Windows line ends, quotes, empty lines, other columns, any case and order of the columns."""
    path = tmp_path / "roster.csv"
    path.write_bytes(
        b"\xef\xbb\xbfSection, Name ,Student,Partners\r\n"
        b'1,"Lovelace, Ada",ada,\r\n\r\n,,,\r\n'
        b'2,"Grace ""Amazing"" Hopper",grace,ada; alan\r\n'
        b"2,\xc3\x89mile,alan,ada grace alan\r\n"
        b"3,,margaret"  # no field for partners, no line's end
    )
    students = read_roster(path)
    assert students == (
        Student("ada", "Lovelace, Ada"),
        Student("grace", 'Grace "Amazing" Hopper', ("ada", "alan")),
        Student("alan", "Émile", ("ada", "grace")),
        Student("margaret"),
    )
    pairs = {frozenset(pair) for pair in (("ada", "grace"), ("grace", "alan"), ("ada", "alan"))}
    assert partner_pairs(students) == pairs


@pytest.mark.parametrize(
    ("header", "row", "found"),
    [
        ("id,name", "a,b", "a"),
        ("name,email", "b,a@x.example", "a@x.example"),
        ("username", "a", "a"),
        ("sid,name", "17,b", "17"),
        ("sid,email,student,id", "s,e,st,i", "st"),
        ("sid,email", "s,e", "e"),
    ],
)
def test_which_column_has_the_id(header: str, row: str, found: str) -> None:
    """The first of student, id, email, username, sid, wherever it stands."""
    assert [student.id for student in parse_roster(f"{header}\n{row}\n", "r")] == [found]


def test_ids_with_spaces_as_partners() -> None:
    """An id that holds spaces can be a partner."""
    students = parse_roster("student,partner\nada king,\nalan,ada king\nalonzo,alan;ada king\n", "r")
    assert [student.partners for student in students] == [(), ("ada king",), ("alan", "ada king")]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "no header"),
        ("\n\nada\n", 1, "no header"),
        (
            "name,section\nAda,1\n",
            1,
            "no column of student, id, email, username, sid in the header, which has: name, s",
        ),
        ("id;name\nada;Ada\n", 1, "no column of student"),
        ("student\n", 1, "no student stands below the header"),
        ("student\n\n ,\n", 3, "no student stands below the header"),
        ("student,student\na,b\n", 1, "the column student twice"),
        ("student\nada\nalan\nada\n", 4, "ada stands in line 2 already"),
        ("student,name\nada,A\n,B\n", 3, "is empty"),
        ("student,name\nada,Lovelace, Ada\n", 2, "3 fields, but the header has 2"),
        ("student\nada/../x\n", 2, "path separator"),
        ("student\nada\\x\n", 2, "path separator"),
        ("student\n..\n", 2, "begins with '.'"),
        ("student\n.\n", 2, "begins with '.'"),
        ("student\n-rf\n", 2, "begins with '-'"),
        ('student\n"a\nb"\n', 3, "not printable"),
        ("student\na\x1b[31mb\n", 2, "not printable"),
        ("student\na\u202eb\n", 2, "not printable"),
        ("student\na\0b\n", 2, "not printable"),
        ("student\n" + "a" * 101 + "\n", 2, "longer than 100"),
        ("student\n" + "é" * 100 + "\n" + "猫" * 100 + "\n", 3, "longer than 100 characters or 200 bytes"),
        ("student,partner\nada,grase\ngrace,\n", 2, "ada's partner 'grase' is not"),
        ('student\n"ada\n', 2, "not CSV"),
        ('student\n"ada"x\n', 2, "not CSV"),
        ("student,name\nada," + "x" * 200_000 + "\n", 2, "not CSV"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(text: str, line: int, why: str) -> None:
    """One printable line: the file, the line, and what is wrong there."""
    with pytest.raises(HarnessError) as raised:
        parse_roster(text, "r.csv")
    said = str(raised.value)
    assert said.startswith(f"r.csv:{line}: ")
    assert why in said
    assert said.isprintable()


def test_longest_id_is_the_name_of_a_file() -> None:
    """What is just not too long is read."""
    assert why_unsafe("a" * 100) is None
    assert why_unsafe("é" * 100) is None


@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot read the roster"), (b"student\nada\n\xff\xfe\n", ":3: not UTF-8")]
)
def test_a_file_that_cannot_be_read(content: bytes | None, why: str, tmp_path: Path) -> None:
    """No such file, or not UTF-8: one line."""
    path = tmp_path / "roster.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(HarnessError, match=why):
        read_roster(path)


@given(st.text(st.sampled_from('ab,;"\n\r \0./\\\u2028é\x1b')).map(lambda text: f"student,partner\n{text}"))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    """Whatever stands in it: students with safe ids of their own, or one line."""
    refusal, students = "", tuple[Student, ...]()
    try:
        students = parse_roster(text, "r")
    except HarnessError as error:
        refusal = str(error)
    assert bool(refusal) != bool(students)
    assert refusal.isprintable()
    ids = [student.id for student in students]
    assert len(set(ids)) == len(ids)
    assert not any(why_unsafe(student) for student in ids)
    assert {partner for student in students for partner in student.partners} <= set(ids)
