"""Pictures of the pages and of the terminal, for the documents: what `./invoke screenshots` makes of a real run."""

import html
import io
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.cli import progress, say
from harness.errors import HarnessError
from harness.evidence import Evidence
from harness.grading.judging import judge
from harness.grading.mutants import ack_numbers, good_capture
from harness.inventory import load_inventory
from harness.lab import experiment_of, run_into
from harness.reports.pages import REPORT, Subject, report_page
from harness.reports.text import report
from harness.runs import CAPTURE, RunFolder
from harness.tcp.conversation import conversations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from harness.grading.results import Results

LAB = "handshake"
# Headless Chromium that speaks to nobody of its own accord.
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_COLUMNS = 88
_TERMINAL = """<!DOCTYPE html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 24px; background: #fff }}
pre {{ display: inline-block; margin: 0; padding: 22px 26px; border-radius: 10px; background: #15181d; color: #e4e7eb;
font: 14px/1.35 "DejaVu Sans Mono", monospace }}
</style><pre>{text}</pre>"""
_STYLES = {"bold": "font-weight:700", "dim": "color:#98a1ad", "green": "color:#7fd699", "bold green": "color:#7fd699"}


def screenshots(*, inventory: Path, out: Path) -> int:
    """Run the lab, draw its page, the page of the same capture made wrong, and the terminal; returns 0.

    Raises:
        HarnessError: the run cannot be done, or there is no browser.
    """
    loaded = load_inventory(inventory)
    with TemporaryDirectory() as scratch, browser() as chromium, progress(quiet=False) as announce:
        folder = RunFolder(Path(scratch))
        _experiment, results, evidence = run_into(
            folder, LAB, loaded.provider, experiment_of(LAB, loaded, loaded.provider, both=True), announce
        )
        announce("take pictures")
        capture = (folder.path / CAPTURE).read_bytes()
        pages = {
            "report": (folder.path / REPORT).read_text(encoding="utf-8"),
            "report-wrong": _wrong_page(capture, evidence),
            "terminal": _terminal(results, evidence),
        }
        out.mkdir(parents=True, exist_ok=True)
        _picture(chromium, pages["report"], out / "report.png", pointed_at="#frame-5 .label.relative")
        _picture(chromium, pages["report-wrong"], out / "report-wrong.png")
        _picture(chromium, pages["report-wrong"], out / "report-dark.png", dark=True)
        _picture(chromium, pages["report-wrong"], out / "report-narrow.png", width=360)
        _picture(chromium, pages["report"], out / "report-both.png", part="#both", height=560)
        _picture(chromium, pages["terminal"], out / "terminal.png", part="pre")
    for path in sorted(out.glob("*.png")):
        say(f"{path}: {path.stat().st_size // 1000} kB")
    return 0


@contextmanager
def browser() -> "Iterator[Browser]":
    """A browser, which is ended with the block.

    Raises:
        HarnessError: there is none.
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        raise HarnessError("there is no chromium; run: apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        try:
            yield chromium
        finally:
            chromium.close()


def _picture(  # noqa: PLR0913
    chromium: "Browser",
    page: str,
    path: Path,
    *,
    width: int = 1280,
    dark: bool = False,
    height: int = 940,
    part: str = "",
    pointed_at: str = "",
) -> None:
    """Take a picture of a page's first screen, or of the top of a part of it, perhaps with the pointer at something."""
    shown = chromium.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
    )
    shown.set_content(page)
    if pointed_at:
        shown.hover(pointed_at)
    if part:
        shown.locator(part).evaluate("one => one.scrollIntoView()")
        if box := shown.locator(part).bounding_box():
            box["height"] = min(box["height"], height - box["y"])
        shown.screenshot(path=path, clip=box)
    else:
        shown.screenshot(path=path)
    shown.close()


def _wrong_page(capture: bytes, evidence: Evidence) -> str:
    """The page of the same capture with one number too high: the SYN-ACK's ack."""
    good = good_capture(LAB, capture, evidence.conversation).touching((evidence.conversation.syn_ack.row,))
    mutant = next(iter(ack_numbers(good)))
    found = tuple(conversations(mutant.segments()))
    return report_page(Subject(LAB, judge(LAB, Evidence(found[0], conversations=found)), found[0], found))


def _terminal(results: "Results", evidence: Evidence) -> str:
    """What the terminal shows at the end, without the middle of the ladder."""
    lines = list(report(results, evidence.conversation, width=_COLUMNS))
    ladder = next(place for place, (text, _style) in enumerate(lines) if not text)
    shown = [*lines[:10], ("  …", "dim"), *lines[ladder - 5 : ladder + 14], ("  …", "dim"), *lines[-2:]]
    text = io.StringIO()
    for line, style in shown:
        text.write(f'<span style="{_STYLES.get(style, "")}">{html.escape(line)}</span>\n')
    return _TERMINAL.format(text=text.getvalue())
