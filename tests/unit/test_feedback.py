"""The feedback: all that a student is told, and nothing that a submission says is markup."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.grading.graded import Flag, Graded, Lateness
from harness.grading.results import Check, Results
from harness.reports.feedback import duration, feedback_html, feedback_markdown, missed_lines, summary_lines

PASSED = Check("a", "A check that holds", 4, 4, "passed", (1, 2), "")
FAILED = Check("b", "Another check", 3, 0, "failed", (3,), "frame 3 (initiator) ack 7, but expected 8")
NOT_SHOWN = Check("c", "A third", 2, 0, "not-shown", (), "not shown: the capture does not show it")
NOT_JUDGED = Check("d", "A fourth", 1, None, "not-judged", (), "could not be judged: KeyError: 'x'")
LADDER = ("1  SYN-SENT  ── [S] seq 0 ──▶   LISTEN", "2  │   ◀── [S.] seq 0 ack 1 ──   SYN-RECEIVED")
ALICE = Graded("alice", "alice/capture.pcap", "0" * 64, Results("handshake", None, None, (PASSED, FAILED, NOT_SHOWN)))
ALL = replace(
    ALICE,
    results=Results("handshake", None, None, (PASSED, FAILED, NOT_SHOWN, NOT_JUDGED)),
    ladder=LADDER,
    problems=("notes.txt is no capture",),
    lateness=Lateness(3661, 2.5),
)
OUR_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "bdi", "ul", "li", "b", "pre"}
VOID = {"meta"}

hostile = st.one_of(
    st.text(max_size=60),
    st.text("`*_[]()!<>&|#~\\\"'@:/.w- \n\t\r1\x1b\u202e\u2066\ud800\u0007", max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</pre><img src=x onerror=alert(1)>",
            "![x](https://evil.example/a.png)",
            "[x](javascript:alert(1))",
            "<https://evil.example>",
            "https://evil.example www.evil.example eve@evil.example @eve #1",
            "```\n# end of the fence",
            "```",
            "````",
            " a ",
            "*a* _b_ **c** __d__ ~~e~~ `f`",
            "``` `a` ``",
            "`",
            " ` ",
            "  ",
            "a | b\n--|--",
            "\x1b[31mred\x1b]8;;https://evil.example\x07",
            "\u202egnp.exe",
            "&lt;b&gt;&#x3c;",
            "<!-- ",
            "]]>",
            "[x]: https://evil.example\n[x]",
            "\\`\\",
        ]
    ),
)
checks = st.builds(
    Check,
    id=st.just("id"),
    title=hostile,
    points=st.integers(0, 9),
    score=st.just(0),
    outcome=st.sampled_from(["failed", "not-shown", "not-judged"]),
    frames=st.lists(st.integers(1, 99), max_size=20).map(tuple),
    message=hostile,
)
submissions = st.builds(
    Graded,
    student=hostile,
    source=hostile,
    content=st.just("0" * 64),
    results=st.builds(Results, hostile, st.none(), st.none(), st.lists(checks, max_size=3).map(tuple), cause=hostile),
    ladder=st.lists(hostile, max_size=3).map(tuple),
    problems=st.lists(hostile, max_size=3).map(tuple),
    lateness=st.one_of(st.none(), st.builds(Lateness, st.integers(0, 10**6), st.floats(0, 100))),
)


class Page(HTMLParser):
    """What a browser makes of a page: tags in order and nested, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.others: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)


def shown(page: str) -> str:
    return "".join(Page(page).texts)


@pytest.mark.parametrize("render", [feedback_markdown, lambda graded: shown(feedback_html(graded))])
def test_tells_everything(render: object) -> None:
    """The mark, each check, why it did not pass, what could not be read, lateness, the ladder."""
    assert callable(render)
    text = render(ALL)
    for said in (
        "Could not be judged: no mark",
        "alice/capture.pcap",
        "4 checks: 1 failed, 1 not shown, 1 could not be judged, 1 passed",
        "frame 3 (initiator) ack 7, but expected 8",
        "the capture does not show it",
        "KeyError: 'x'",
        "notes.txt is no capture",
        "1 h 1 min late: 2.5 points",
        "[S.] seq 0 ack 1",
        "A check that holds",
        "(frame 3)",
    ):
        assert said in text, said
    assert "4 of 9 points" in render(ALICE)
    assert "late" not in render(ALICE)
    assert "on time" in render(replace(ALICE, lateness=Lateness()))


@pytest.mark.parametrize("render", [feedback_markdown, feedback_html])
def test_outcomes_have_a_mark_and_a_word(render: object) -> None:
    """Colour alone tells nothing."""
    assert callable(render)
    text = re.sub(r"</?b>|\*\*", "", render(ALL))
    for said in ("✓ passed · 4/4", "✗ failed · 0/3", "? not shown · 0/2", "! could not be judged · -/1"):
        assert said in text


def test_flags_are_the_teachers() -> None:
    """A student does not see what a human is to look at."""
    flagged = replace(ALICE, flags=(Flag("copy", "the same packets as bob"),))
    assert feedback_markdown(flagged) == feedback_markdown(ALICE)
    assert feedback_html(flagged) == feedback_html(ALICE)


def test_a_cause_is_told_once() -> None:
    """When nothing could be judged there are no checks, but why."""
    graded = replace(ALICE, results=Results("handshake", None, None, (), cause="could not be judged: no capture in it"))
    for text in (feedback_markdown(graded), shown(feedback_html(graded)), "\n".join(summary_lines(graded))):
        assert text.count("no capture in it") == 1
        assert "could not be judged: no capture" not in text
        assert "No check was made" in text


def test_the_page_loads_nothing() -> None:
    """The policy forbids all but the page's own style, which it knows by its hash; no attribute names another place."""
    page = feedback_html(ALL)
    (policy,) = (
        value for tag, name, value in Page(page).attributes if (tag, name) == ("meta", "content") if "'" in str(value)
    )
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert not {name for _, name, _ in Page(page).attributes} & {"src", "href", "action", "style", "srcset"}


def test_size_of_a_normal_page() -> None:
    """31 checks and a ladder of 69 segments."""
    checks = tuple(FAILED._replace(id=str(n)) for n in range(31))
    ladder = tuple(LADDER[n % 2].ljust(80, "─") for n in range(69))
    page = feedback_html(replace(ALICE, results=Results("handshake", None, None, checks), ladder=ladder))
    assert len(page.encode()) < 30_000


def test_what_is_long_is_cut() -> None:
    """A submission cannot make a page without end."""
    graded = Graded(
        "a" * 10**5,
        "b" * 10**5,
        "",
        Results("handshake", None, None, (FAILED._replace(message="`" * 10**5, frames=tuple(range(10**4))),)),
        ladder=("─" * 10**4,) * 1000,
        problems=("c" * 10**4,) * 1000,
    )
    for text in (feedback_markdown(graded), feedback_html(graded)):
        assert len(text) < 150_000
        assert "and 980 more" in text
        assert "and 600 more lines" in text
        assert "and 9988 more" in text
    assert len("".join(summary_lines(graded)) + "".join(missed_lines(graded))) < 30_000


@settings(max_examples=70)
@given(submissions)
def test_html_holds_no_tags_but_ours(graded: Graded) -> None:
    """Parsed as a browser does: properly nested, only our tags and attributes, no comments; encodable."""
    text = feedback_html(graded)
    text.encode("utf-8")
    page = Page(text)
    assert page.open == []
    assert set(page.tags) <= OUR_TAGS
    assert page.others == []
    assert page.tags.count("style") == page.tags.count("title") == 1
    assert {name for _, name, _ in page.attributes} <= {
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "tabindex",
    }
    assert "".join(page.texts).replace("\n", "").isprintable()


@settings(max_examples=70)
@given(submissions)
def test_markdown_holds_no_markup_but_ours(graded: Graded) -> None:
    """Rendered with tables and HTML on: no link, picture, table or HTML, and as many blocks as without the texts."""
    text = feedback_markdown(graded)
    text.encode("utf-8")
    assert text.replace("\n", "").isprintable()
    parsed = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"]).parse(text)
    inline = [child for token in parsed for child in token.children or ()]
    kinds = {token.type for token in parsed} | {token.type for token in inline}
    assert kinds <= {
        *(
            f"{name}_{end}"
            for name in ("heading", "paragraph", "bullet_list", "list_item")
            for end in ("open", "close")
        ),
        *("inline", "fence", "text", "text_special", "code_inline", "strong_open", "strong_close", "softbreak"),
    }
    made = graded.results.checks
    assert sum(token.type == "fence" for token in parsed) == bool(graded.ladder)
    assert sum(token.type == "strong_open" for token in inline) == len(made)
    items = len(graded.problems) + len(made) + sum(bool(check.message) for check in made)
    assert sum(token.type == "list_item_open" for token in parsed) == items
    for token in inline:  # what some renderers link wherever it stands as text
        if token.type == "text":
            assert not re.search(r"://|www\.|@|#\d", token.content, re.IGNORECASE)


@pytest.mark.parametrize(
    "title", ["*a*", "_a_", "**a**", "`a`", "[a](b)", "![a](b)", "<b>", "&amp;", "\\*", "a\\", "~~a~~"]
)
def test_a_title_is_told_as_it_is(title: str) -> None:
    """What would be markup stands there as it was written."""
    graded = replace(ALICE, results=Results("handshake", None, None, (FAILED._replace(title=title),)))
    parsed = MarkdownIt("commonmark").enable("strikethrough").parse(feedback_markdown(graded))
    (line,) = (token.children for token in parsed if token.children and "0/3" in token.content)
    assert line is not None
    assert "".join(child.content for child in line if child.type in {"text", "text_special"}).endswith(f" · {title}")
    assert title in shown(feedback_html(graded))


@pytest.mark.parametrize("line", ["```", "````", "`" * 50])
def test_no_line_ends_the_ladder(line: str) -> None:
    """The fence is longer than any in it."""
    parsed = MarkdownIt("commonmark").parse(feedback_markdown(replace(ALICE, ladder=(line, "# more"))))
    (fence,) = (token for token in parsed if token.type == "fence")
    assert fence.content == f"{line}\n# more\n"


@pytest.mark.parametrize("message", [" a ", "` a `", "`", "``a`", " `a` ", "a\\", "**a**", "![a](b)"])
def test_a_code_span_holds_any_message(message: str) -> None:
    """With its spaces and backticks."""
    test_a_message_is_told_as_it_is.hypothesis.inner_test(message)  # type: ignore[attr-defined]


@given(hostile)
def test_a_message_is_told_as_it_is(message: str) -> None:
    """Printable text comes through both formats unchanged."""
    if not (message.isprintable() and message.strip(" ")):
        return
    graded = replace(ALICE, results=Results("handshake", None, None, (FAILED._replace(message=message),)))
    parsed = MarkdownIt("commonmark").parse(feedback_markdown(graded))
    spans = [child.content for token in parsed for child in token.children or () if child.type == "code_inline"]
    assert spans[2] == message
    assert message in shown(feedback_html(graded))


@settings(max_examples=70)
@given(submissions)
def test_plain_lines_are_lines(graded: Graded) -> None:
    """What other systems get: each a printable line."""
    for line in (*summary_lines(graded), *missed_lines(graded)):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3661, "1 h 1 min"),
        (86400, "1 day"),
        (180000, "2 days 2 h"),
        (86460, "1 day"),
    ],
)
def test_duration(seconds: int, text: str) -> None:
    """The two largest units that follow each other."""
    assert duration(seconds) == text
