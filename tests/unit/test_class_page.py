"""A class's page: everybody linked, the distribution, and whatever a student is called is text."""

import re
from html import unescape
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.grading.graded import Flag, Graded, Lateness
from harness.grading.results import Check, Results
from harness.reports.page.classroom import Classroom
from harness.reports.pages import class_page
from tests.pages import SCRIPT
from tests.unit.test_page import Page, assert_harmless

GOOD = Check("a", "A check", 6, 6, "passed", (1,), "")
BAD = Check("b", "Another check", 4, 0, "failed", (2,), "frame 2 says nothing")
UNSEEN = Check("b", "Another check", 4, 0, "not-shown", (), "not shown: it is not there")


def graded(student: str, *checks: Check, cause: str = "", flags: tuple[Flag, ...] = ()) -> Graded:
    return Graded(student, f"{student}/x.pcap", "0" * 64, Results("handshake", None, None, checks, cause), flags=flags)


def page_of(*students: Graded) -> str:
    room = Classroom(lambda student: "feedback.html" if student == "carol" else "report.html")
    for one in students:
        room.add(one)
    return class_page("handshake", room)


def said(page: str) -> str:
    return " ".join(" ".join(Page(page).text).split())


def test_a_class_in_numbers() -> None:
    """Outcomes, mean and median, bins, and the checks that earn least with their shares."""
    page = page_of(
        graded("alice", GOOD, GOOD._replace(id="b", points=4, score=4)),
        graded("bob", GOOD, BAD),
        graded("carol", GOOD, UNSEEN),
        graded("dave", cause="there is no capture in it"),
    )
    text = said(page)
    assert "4 submissions · passed all: 1 · did not pass all: 2 · could not be judged: 1" in text
    assert "mean 7.33, median 6, of 10 points" in text
    assert re.findall(r"(\d+) %</td>", page) == ["33", "33"]
    assert "60–70 %: 2" in page
    assert "90–100 %: 1" in page
    assert re.search(r"dave – ! could not be judged", text)


def test_everybody_is_linked() -> None:
    """To the report page where there is one, else to the feedback."""
    page = page_of(graded("alice", GOOD), graded("carol", GOOD))
    assert 'href="students/alice/report.html"' in page
    assert 'href="students/carol/feedback.html"' in page


def test_flags_are_for_a_human() -> None:
    """By kind, with the student, what was seen and where; and lateness counts in the points."""
    flag = Flag("copy", "the same connection as bob", (3, 4))
    late = Graded("bob", "bob", "0", Results("handshake", None, None, (GOOD,)), lateness=Lateness(60, 2.5))
    text = said(page_of(graded("alice", GOOD, flags=(flag,)), late))
    assert "copy (1) alice : the same connection as bob (frames 3, 4)" in text
    assert "bob 3.5/6" in text


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=40), st.just(SCRIPT), st.just("../../x?y#z'\"")))
def test_whatever_a_student_is_called_is_text(name: str) -> None:
    """Names, flags, titles: never markup, and a link leads into that student's folder only."""
    check = BAD._replace(title=name or "x")
    page = page_of(graded(name, check, flags=(Flag("copy", name), Flag(name, name))))
    assert page.encode()
    read = assert_harmless(page, beyond="students/")
    for kind, value in read.attributes:
        if kind == "href":
            folder, _, rest = unescape(value).removeprefix("students/").partition("/")
            assert rest == "report.html"
            assert unquote(folder) == name.encode(errors="replace").decode()
