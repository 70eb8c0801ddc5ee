"""The report page in a browser: nothing fails, nothing is loaded, everything answers to mouse and keyboard."""

import functools
import time
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Page

from harness.claim_plugin import Decision, Exhibit
from harness.evidence import evidence_of_run
from harness.grading.graded import Flag, Graded
from harness.grading.judging import judge
from harness.reports.both import BothViews
from harness.reports.claims_page import claims_page
from harness.reports.page.classroom import Classroom
from harness.reports.pages import Subject, class_page, report_page, run_page
from labs.article.claims import CLAIMS
from tests.browser.conftest import Opened, Reader
from tests.pages import DATA, SCRIPT, bulk, hostile_page, judged, page_of, seen_from_both, wrong_capture

AXE = files("axe_playwright_python") / "axe.min.js"


@functools.cache
def right() -> str:
    return page_of((DATA / "four-segment.pcap").read_bytes())


@functools.cache
def wrong() -> str:
    return page_of(wrong_capture())


@functools.cache
def of_a_run() -> str:
    folder = DATA / "reproduced" / "teardown"
    evidence = evidence_of_run(folder)
    return run_page(judge("teardown", evidence, "embedded"), evidence, folder, None)


@functools.cache
def large() -> str:
    conversation = bulk(5000)
    return report_page(Subject("large", None, conversation, (conversation,)))


@functools.cache
def of_both_hosts() -> str:
    near, far = seen_from_both()
    return report_page(Subject("both", None, near, (near,), both=BothViews(near, far)))


@functools.cache
def of_a_class() -> str:
    room = Classroom(lambda _student: "report.html")
    results, _evidence = judged(wrong_capture())
    for name in ("alice", "bob", SCRIPT):
        room.add(Graded(name, name, "0" * 64, results, flags=(Flag("copy", "the same connection", (1, 2)),)))
    return class_page("handshake", room)


@functools.cache
def of_claims() -> str:
    exhibits = (Exhibit("teardown", (21, 22, 34, 35), "the close"), Exhibit("article", (1, 2), "the SYNs"))
    decided = {
        claim.id: Decision(claim.id, verdict, "A note.", exhibits, ())
        for claim, verdict in zip(CLAIMS, ("confirmed", "qualified", "refuted", "not-shown"), strict=False)
    }
    return claims_page(CLAIMS[:4], decided, DATA / "reproduced")


PAGES = {
    "right": right,
    "wrong": wrong,
    "run": of_a_run,
    "both": of_both_hosts,
    "large": large,
    "class": of_a_class,
    "claims": of_claims,
}


def lit(page: Page, kind: str) -> list[str]:
    """The segments that are lit up in a way."""
    return [one.get_attribute("id") or "" for one in page.locator(f"a.segment.{kind}").all()]


def assert_quiet(opened: Opened) -> None:
    """No console message, no error, and no request but for the page itself."""
    assert opened.complaints == []
    assert len(opened.requests) == 1
    assert opened.requests[0].startswith("file:")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_renders(reader: Reader, name: str) -> None:
    """Light and dark, wide and narrow: nothing is said on the console, nothing requested, nothing sticks out."""
    opened = reader.open(PAGES[name]())
    page = opened.page
    for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 20, 23)")):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
            assert page.locator("svg").first.is_visible()
    assert_quiet(opened)


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_kept_out(reader: Reader, name: str) -> None:
    """axe-core finds no violation of WCAG 2.2 AA that it calls serious or critical; in the dark, none of contrast."""
    page = reader.open(PAGES[name]()).page
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 15, "axe has looked"
    page.emulate_media(color_scheme="dark")
    in_the_dark = page.evaluate("axe.run({runOnly: ['color-contrast']})")
    assert [one["id"] for one in in_the_dark["passes"]] == ["color-contrast"]
    serious = [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found["violations"] + in_the_dark["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == []


def test_pointing_at_a_segment_shows_its_arithmetic(reader: Reader) -> None:
    """The equation, with the segments it comes from lit; gone when the pointer goes."""
    page = reader.open(right()).page
    panel = page.locator("#panel")
    assert panel.is_hidden()
    page.hover("#frame-5 .label.relative")
    assert "ack 42 = seq 1 + 41 bytes of frame 4" in panel.inner_text()
    assert lit(page, "here") == ["frame-5"]
    assert lit(page, "source") == ["frame-2", "frame-4"]
    page.hover("h1")
    assert panel.is_hidden()
    assert lit(page, "source") == []


def test_the_keyboard_shows_it_too(reader: Reader) -> None:
    """Tab comes to the segments, arrow keys go from one to the next, Escape puts the panel away."""
    page = reader.open(wrong()).page
    page.locator("#absolute").focus()
    page.keyboard.press("Tab")
    panel = page.locator("#panel")
    assert page.evaluate("document.activeElement.id") == "frame-1"
    assert "the initial sequence number of the initiator" in panel.inner_text()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "frame-2"
    assert "1 more than was sent" in panel.inner_text()
    page.keyboard.press("Escape")
    assert panel.is_hidden()


def test_a_screen_reader_gets_it_too(reader: Reader) -> None:
    """Each segment has a name that says what it is, and a description that is its arithmetic."""
    page = reader.open(wrong()).page
    tree = page.locator("#frame-2").aria_snapshot()
    assert "wrong: frame 2, responder to initiator, [S.] seq 0 ack 2" in tree
    described = page.locator("#frame-5").get_attribute("aria-describedby")
    assert "ack 42 = seq 1 + 41 bytes of frame 4" in page.locator(f"#{described}").inner_text()


def test_a_check_lights_up_its_frames(reader: Reader) -> None:
    """By pointing, and by the keyboard; its link leads to the frame, whose line leads back."""
    page = reader.open(wrong()).page
    page.hover("#checks .check.failed >> nth=0")
    assert lit(page, "lit") == ["frame-1", "frame-2"]
    page.hover("h1")
    assert lit(page, "lit") == []
    page.locator("#checks .check.failed >> nth=0").get_by_role("link", name="frame 2").focus()
    assert lit(page, "lit") == ["frame-1", "frame-2"]
    page.keyboard.press("Enter")
    assert page.url.endswith("#frame-2")
    assert page.locator("#frame-2").is_visible()
    page.locator("#line-2 a.back >> nth=0").click()
    assert page.locator("#checks .check.failed >> nth=0").get_attribute("id") == page.url.partition("#")[2]


def test_what_is_wrong_stands_on_the_first_screen(reader: Reader) -> None:
    """Without scrolling: which frame, what it says and should say, and its arrow."""
    page = reader.open(wrong()).page
    box = page.locator(".first").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 800
    text = page.locator(".first").inner_text()
    assert "Frame 2 is wrong" in text
    assert "ack 2" in text
    assert "ack 1" in text
    assert page.locator(".first .segment.wrong .mark >> nth=0").text_content() == "✗ "


def test_numbers_as_on_the_wire(reader: Reader) -> None:
    """The switch, with and without scripts."""
    for script in (True, False):
        page = reader.open(right(), script=script).page
        relative, absolute = page.locator("#frame-2 .label.relative"), page.locator("#frame-2 .label.absolute")
        assert relative.is_visible()
        assert absolute.is_hidden()
        page.get_by_label("numbers as on the wire").check()
        assert relative.is_hidden()
        assert absolute.is_visible()
        assert "seq 0" not in (absolute.text_content() or "")


def test_without_scripts_all_is_there(reader: Reader) -> None:
    """Checks, ladder, arithmetic, listing; and no button that does nothing."""
    page = reader.open(wrong(), script=False).page
    assert page.locator("#frame-2").is_visible()
    assert "ack 42 = seq 1 + 41 bytes of frame 4" in page.locator("#sum-5").inner_text()
    assert page.locator("button:visible").count() == 0
    page.locator("#frame-5 .label.relative").click()
    assert page.url.endswith("#line-5")


def test_a_filter_is_copied(reader: Reader) -> None:
    """The button copies what stands beside it; without a clipboard that is selected."""
    page = reader.open(wrong()).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("#checks .check.failed >> nth=0").get_by_role("button")
    button.click()
    page.wait_for_function("(button) => button.textContent === button.dataset.copied", arg=button.element_handle())
    assert page.evaluate("navigator.clipboard.readText()") == "frame.number in {1 .. 2}"


@pytest.mark.parametrize("text", [SCRIPT, "</script><script>alert(1)</script>", "' onmouseover='alert(1)' x='"])
def test_a_hostile_student_stays_text(reader: Reader, text: str) -> None:
    """Nothing of it runs or loads, and the reader sees it as it was written."""
    opened = reader.open(hostile_page(text))
    page = opened.page
    page.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
    page.mouse.move(300, 300)
    page.hover("#frame-2 .label.relative")
    page.hover(".check >> nth=0")
    assert text in page.locator("body").inner_text()
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert_quiet(opened)


def test_the_policy_holds(reader: Reader) -> None:
    """Were there markup of somebody else's in the page all the same, it would not run, and nothing would be loaded."""
    added = (
        '<script>document.title = "broken"</script><img src="http://127.0.0.1:9/x.png" onerror="document.title = 1">'
    )
    opened = reader.open(right().replace("<main", f"{added}<main"))
    assert opened.page.title() == "handshake: 100 of 100 points"
    assert any("Content Security Policy" in said for said in opened.complaints)
    assert opened.failures == {"http://127.0.0.1:9/x.png": "csp"}


def test_5000_packets_open_in_a_second(reader: Reader) -> None:
    """From the file to a drawn page; under 400 kB."""
    html = large()
    assert len(html.encode()) < 400_000
    reader.open(right())  # the browser has woken up
    began = time.monotonic()
    page = reader.open(html).page
    page.locator("#frame-5000").wait_for()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert time.monotonic() - began < 3.0, "a second on a machine that does nothing else"


def test_paper(reader: Reader, tmp_path: Path) -> None:
    """On A4 nothing is cut off, what is folded is there, and what only a screen can do is not."""
    page = reader.open(wrong()).page
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 690, "height": 1000})  # A4 without its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 690
    assert page.locator("button:visible").count() == 0
    assert page.locator(".switch").is_hidden()
    assert page.locator("details .check.passed >> nth=0").is_visible()
    assert page.pdf(path=tmp_path / "page.pdf", format="A4").startswith(b"%PDF")
