"""The report page: what it shows and folds, and that nothing from outside is ever markup."""

import base64
import hashlib
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures.reading import load_capture
from harness.grading.graded import Graded, Lateness
from harness.grading.results import Check, Results
from harness.reports.page.connections import connection_filter
from harness.reports.page.diagram import EDGES, taken
from harness.reports.page.drawing import Ladder, ladder_svg
from harness.reports.page.findings import filter_of, findings, first_to_show, ranges_of
from harness.reports.page.folding import DRAWN_WHOLE, MOST_DRAWN, Fold, folded
from harness.reports.page.listing import lines_of
from harness.reports.pages import Subject, report_page, student_pages
from harness.tcp.conversation import ENDS, conversations
from harness.tcp.states import TABLE, State
from tests.pages import (
    DATA,
    OPEN_AND_CLOSE,
    SCRIPT,
    bulk,
    conversation_of,
    hostile_page,
    judged,
    page_of,
    wrong_capture,
)

NAMED = sorted((DATA / "named").glob("*.pcap"))
OUR_TAGS = {
    *("html", "head", "meta", "title", "style", "script", "body", "header", "nav", "main", "section", "footer"),
    *("h1", "h2", "h3", "p", "b", "span", "div", "a", "code", "button", "label", "input", "details", "summary"),
    *("ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("bdi", "blockquote", "br", "pre"),
    *("svg", "desc", "g", "text", "tspan", "rect", "line", "path"),
}

hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            SCRIPT,
            "</script><script>alert(1)</script>",
            "</title></head><body onload=alert(1)>",
            "' onmouseover='alert(1)",
            '" autofocus onfocus="alert(1)',
            "]]></svg><script>",
            "{{ 7 * 7 }} {% raw %}",
            "%(num)s {frame} {0}",
            "\x00\x1b[31m\u202e\u2066\ud800",
            "javascript:alert(1)",
        ]
    ),
)


class Page(HTMLParser):
    """A page, read as a browser would as far as tags and attributes go."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.inside = ""
        self.raw: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = tag if tag in ("style", "script") else ""
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "aria-describedby", "aria-labelledby"):
                self.links.append((value or "").removeprefix("#"))

    def handle_endtag(self, _tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside] = self.raw.get(self.inside, "") + data
        else:
            self.text.append(data)


def assert_harmless(page: str, beyond: str = "#") -> Page:
    """Only our tags, no handlers, no styles in attributes, no address of anything outside, and a policy that fits.

    Args:
        page: the page.
        beyond: what the addresses of other files begin with that it may link.
    """
    read = Page(page)
    assert set(read.tags) <= OUR_TAGS, set(read.tags) - OUR_TAGS
    assert read.tags.count("script") == read.tags.count("style") == 1
    names = {name for name, _ in read.attributes}
    assert not any(name.startswith("on") or name in ("style", "src", "srcdoc", "action") for name in names), names
    assert all(value.startswith(("#", beyond)) for name, value in read.attributes if name == "href")
    policy = next(value for name, value in read.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; ")
    assert "base-uri 'none'; form-action 'none'" in policy
    assert "unsafe" not in policy
    for what in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(read.raw[what].encode()).digest()).decode()
        assert f"{what}-src 'sha256-{digest}'" in policy
    assert len(read.ids) == len(set(read.ids)), "an id stands once"
    within = {link for link in read.links if beyond == "#" or not link.startswith(beyond)}
    assert within <= set(read.ids), "every link has its place"
    return read


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_whatever_comes_from_outside_is_text(text: str) -> None:
    """Titles, messages, answers, file names, listings: escaped wherever they stand, and encodable."""
    page = hostile_page(text)
    read = assert_harmless(page)
    assert page.encode()
    assert "alert(" not in read.raw["script"]


def test_a_script_is_shown_as_text() -> None:
    """It is not left out either: the student sees what was handed in."""
    read = Page(hostile_page(SCRIPT))
    assert sum(SCRIPT in text for text in read.text) >= 8


def test_a_wrong_capture_says_what_is_wrong_first() -> None:
    """Before all else: which frame, what it says, what it should say; and its arrow, marked."""
    read = assert_harmless(page_of(wrong_capture()))
    text = " ".join(" ".join(read.text).split())
    begin = text.index("Frame 2 is wrong")
    assert begin < text.index("Ladder", text.index("Ladder") + 1)
    assert re.search(r"It says ack 2 .* It should say ack 1 .* because frame 1 seq \d+ \+ 1 = \d+", text[begin:])
    page = page_of(wrong_capture())
    first = page[page.index('<section class="first') : page.index("</section>")]
    assert 'class="segment control wrong"' in first
    assert "should say ack 1" in first
    assert '<tspan class="bad">ack 2</tspan>' in first
    assert len(page) < 400_000


def test_a_right_capture_shows_nothing_wrong() -> None:
    """No box, no mark, all checks there."""
    page = page_of((DATA / "four-segment.pcap").read_bytes())
    read = assert_harmless(page)
    assert "wrong" not in " ".join(value for name, value in read.attributes if name == "class").split()
    assert page.count('class="check passed"') > 20
    assert len(page) < 400_000


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_every_kind_of_connection_is_drawn(path: Path) -> None:
    """Recorded captures of everything that has a name; every segment is an arrow with its line and its arithmetic."""
    segments = load_capture(path).segments
    found = conversations(segments)
    page = report_page(Subject(path.name, None, found[0], found))
    assert_harmless(page)
    for frame in segments.frame.tolist():
        for name in ("frame", "line", "sum"):
            assert page.count(f'id="{name}-{frame}"') == 1


def test_a_page_without_a_connection_says_why() -> None:
    """Nothing that could be read: the cause, the checks, no ladder."""
    checks = (Check("a", "A check", 3, None, "not-judged", (), "there is no capture in it"),)
    page = report_page(Subject("handshake", Results("handshake", None, None, checks, "there is no capture in it")))
    assert_harmless(page)
    assert "could not be judged" in page
    assert 'class="ladder"' not in page


def test_a_student_who_hands_in_two_captures() -> None:
    """A page each; a frame number may be of either, so no page calls a frame wrong, and no link leads astray."""
    conversation = conversation_of(OPEN_AND_CLOSE)
    check = Check("a", "A check", 3, 0, "failed", (2,), "frame 2 (responder) ack 1001, but frame 1 seq 1000 + 9 = 1009")
    graded = Graded(
        SCRIPT, SCRIPT, "0", Results("handshake", None, None, (check,)), problems=(SCRIPT,), lateness=Lateness(60, 1)
    )
    part = (conversation, (conversation,))
    pages = student_pages(graded, [part, part])
    assert list(pages) == ["report.html", "report-2.html"]
    for page in pages.values():
        read = assert_harmless(page)
        assert "wrong" not in " ".join(value for name, value in read.attributes if name == "class").split()
        assert "Handed in 1 min late" in page
    (alone,) = student_pages(graded, [part]).values()
    assert 'class="segment control wrong"' in alone
    (nothing,) = student_pages(graded, []).values()
    assert_harmless(nothing)
    assert 'class="ladder"' not in nothing


# -- folding -----------------------------------------------------------------------------------------------------------


def test_bulk_data_is_folded() -> None:
    """Of 5,000 segments the control segments and both ends are drawn; the folds say what they hold."""
    conversation = bulk(5000)
    items = folded(conversation)
    drawn = [item for item in items if isinstance(item, int)]
    folds = [item for item in items if isinstance(item, Fold)]
    assert set(conversation.control_rows) <= set(drawn)
    assert len(drawn) < 40
    assert len(drawn) + sum(fold.segments for fold in folds) == 5000
    lengths = conversation.column("length")
    assert sum(sum(fold.bytes) for fold in folds) + sum(lengths[row] for row in drawn) == sum(lengths)
    svg = str(ladder_svg(Ladder(conversation, items, "ladder", "", "")))
    assert f"frames {folds[0].first_frame}–{folds[0].last_frame}: {folds[0].segments:,} segments" in svg
    assert f"{folds[0].bytes[1]:,} bytes responder → initiator" in svg


def test_what_a_failed_check_points_at_is_never_folded() -> None:
    """A frame in the middle of the bulk is drawn, with its neighbours, and the check's link leads to it."""
    conversation = bulk(5000)
    check = Check("a", "A check", 3, 0, "failed", (2500,), "frame 2500 (responder) ack 7, but expected 8")
    page = report_page(Subject("x", Results("x", None, None, (check,)), conversation, (conversation,)))
    assert_harmless(page)
    assert 'id="frame-2500"' in page
    assert 'href="#frame-2500"' in page
    assert 'id="frame-2499"' in page
    assert 'id="frame-2600"' not in page
    assert len(page) < 400_000


def test_control_segments_are_never_folded() -> None:
    """A SYN in the middle of the bulk is drawn; data at its place is not."""
    syn = bulk(5000, "+.0001 > S 0:0(0) win 64240")
    assert 2500 in folded(syn)
    assert 2500 not in folded(bulk(5000))


def test_few_segments_are_not_folded() -> None:
    """A session of ssh is drawn whole."""
    assert folded(bulk(DRAWN_WHOLE)) == list(range(DRAWN_WHOLE))
    assert len(folded(bulk(DRAWN_WHOLE + 1))) < DRAWN_WHOLE


def test_a_flood_of_control_segments_is_bounded() -> None:
    """A conversation of nothing but SYNs does not make a page without end."""
    script = "\n".join(["+.5 > S 0:0(0) win 64240"] * (MOST_DRAWN * 3))
    conversation = conversation_of(script)
    drawn = [item for item in folded(conversation, set(range(5000))) if isinstance(item, int)]
    assert len(drawn) <= MOST_DRAWN + 10
    page = report_page(Subject("x", None, conversation, (conversation,)))
    assert len(page) < 1_000_000


# -- parts -------------------------------------------------------------------------------------------------------------


def test_frames_captured_at_both_ends_slope() -> None:
    """A capture merged from both hosts has each frame twice: one arrow, down to where it arrived."""
    once = OPEN_AND_CLOSE.strip().splitlines()
    twice = "\n".join(line for one in once for line in (one, re.sub(r"^\+\S+", "+.0004", one)))
    svg = str(ladder_svg(Ladder(conversation_of(twice), list(range(22)), "ladder", "", "")))
    lines = re.findall(r'<line x1="\d+%" y1="(\d+)" x2="\d+%" y2="(\d+)"/>', svg)
    assert len(lines) == 11
    assert all(int(down) > int(up) for up, down in lines)
    alone = str(ladder_svg(Ladder(conversation_of(OPEN_AND_CLOSE), list(range(11)), "ladder", "", "")))
    level = re.findall(r'<line x1="\d+%" y1="(\d+)" x2="\d+%" y2="(\d+)"/>', alone)
    assert len(level) == 11
    assert all(one == two for one, two in level)


def test_the_diagram_is_the_table() -> None:
    """Every transition of figure 5 is in the table, and each end's path is its states."""
    assert all(TABLE[edge[0], event] is edge[1] for edge, event in EDGES.items())
    assert len(EDGES) == 16
    assert {state for edge in EDGES for state in edge} == set(State)
    conversation = conversation_of(OPEN_AND_CLOSE)
    for end in (0, 1):
        path = taken(conversation, end)
        assert [edge[1] for edge, _event, _frame in path] == list(conversation.states(ENDS[end]))[1:]


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_the_listing_is_tcpdumps(path: Path) -> None:
    """But for padding between options and their order, line for line (tcpdump is asked, times in UTC)."""
    said = subprocess.run(
        ["tcpdump", "-n", "-S", "-r", str(path)],
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"},
    ).stdout.splitlines()  # fmt: skip
    ours = {
        frame: line
        for one in conversations(load_capture(path).segments)
        for frame, line in zip(one.column("frame"), lines_of(one, range(len(one.rows.rows))).values(), strict=True)
    }
    assert {frame: _plain(line) for frame, line in ours.items()} == {
        frame: _plain(said[frame - 1]) for frame in sorted(ours)
    }


def _plain(line: str) -> str:
    def options(found: "re.Match[str]") -> str:
        kept = [one for one in found[1].split(",") if one not in ("nop", "eol")]
        return f"options [{','.join(sorted('tfo' if one.startswith('tfo') else one.strip() for one in kept))}]"

    line = re.sub(r"^(\S+) .*?(IP6? )", r"\1 \2", line)  # without the interface
    # What tcpdump says of a protocol above TCP stands behind the length.
    return re.sub(r"(length \d+).*", r"\1", re.sub(r"options \[(.*?)\](?=, length)", options, line))


def test_a_listing_of_another_capture_is_not_shown() -> None:
    """tcpdump's own lines are taken only where flags and length are the frame's."""
    conversation = conversation_of(OPEN_AND_CLOSE)
    own = [line.replace("options [", "options [nop,") for line in lines_of(conversation, range(11)).values()]
    page = report_page(Subject("x", None, conversation, (conversation,), printed=own))
    assert "[nop,mss" in page
    page = report_page(Subject("x", None, conversation, (conversation,), printed=own[1:]))
    assert '[nop,mss 1460,sackOK,wscale 7], length 0</code><p id="sum-1"' not in page


def test_filters_are_wiresharks() -> None:
    """Frames as runs, and a connection by its ends."""
    assert ranges_of((1, 2, 3, 7, 9, 10)) == [(1, 3), (7, 7), (9, 10)]
    assert filter_of(ranges_of((1, 2, 3, 7))) == "frame.number in {1 .. 3, 7}"
    assert filter_of(ranges_of((5,))) == "frame.number == 5"
    assert filter_of([]) == ""
    assert connection_filter(conversation_of(OPEN_AND_CLOSE)) == (
        "ip.addr == 192.168.1.63 && ip.addr == 192.168.1.64 && tcp.port == 40000 && tcp.port == 22"
    )


def test_what_is_shown_first() -> None:
    """A failure that names a number, before one that does not, before what is not shown."""
    vague = Check("a", "vague", 1, 0, "failed", (1, 2, 3), "the close is 'reset'")
    exact = Check("b", "exact", 1, 0, "failed", (1, 2), "frame 2 (responder) ack 1001, but frame 1 seq 1000 + 9 = 1009")
    unseen = Check("c", "unseen", 1, 0, "not-shown", (), "not shown: the capture does not show it")
    conversation = conversation_of(OPEN_AND_CLOSE)
    by_frame = {frame: (conversation, row) for row, frame in enumerate(conversation.column("frame"))}

    def first(*checks: Check) -> str | None:
        found = first_to_show(findings(Results("x", None, None, checks), by_frame))
        return found.title if found else None

    assert first(unseen, vague, exact) == "exact"
    assert first(unseen, vague) == "vague"
    assert first(unseen) == "unseen"
    assert first() is None


def test_what_pytest_adds_is_left_out() -> None:
    """What should be said ends where pytest's own words begin."""
    results, evidence = judged(wrong_capture())
    by_frame = {frame: (evidence.conversation, row) for row, frame in enumerate(evidence.conversation.column("frame"))}
    wrong = [one.wrong for one in findings(results, by_frame) if one.wrong]
    assert len(wrong) >= 2
    assert all(re.search(r" = \d+$", one.expected) for one in wrong), wrong
    assert {one.frame for one in wrong} == {2}
