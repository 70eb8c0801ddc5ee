"""An article's claims as a page: its words, the verdict, the evidence drawn beside tcpdump's lines."""

from pathlib import Path

from harness.claim_plugin import Decision, Exhibit
from harness.reports.claims_page import claims_page
from labs.article.claims import CLAIMS, Claim
from tests.pages import DATA, SCRIPT
from tests.unit.test_page import Page, assert_harmless

RUNS = DATA / "reproduced"
CONFIRMED = Decision("C05", "confirmed", "A note.", (Exhibit("teardown", (21, 34), "the FINs"),), ())
REFUTED = Decision("C20", "refuted", "It does not.", (Exhibit("article", tuple(range(90, 130)), "much"),), ())


def page(*decisions: Decision, folder: Path = RUNS) -> str:
    decided = {one.claim: one for one in decisions}
    return claims_page([claim for claim in CLAIMS if claim.id in decided], decided, folder)


def test_evidence_is_drawn() -> None:
    """The frames that decide, as arrows and as tcpdump's lines; the claim in both languages; Wireshark's filter."""
    html = page(CONFIRMED)
    assert_harmless(html)
    text = " ".join(" ".join(Page(html).text).split())
    assert "C05 ✓ confirmed FIN = 1 asks to close the connection. FIN = 1 表示请求释放连接。 A note." in text
    assert html.count('class="segment control"') == 2
    assert "Flags [F.], seq" in text
    assert "frame.number in {21, 34}" in text


def test_much_evidence_is_cut() -> None:
    """Of forty frames the first twelve of each connection are drawn, and the rest is counted."""
    html = page(REFUTED)
    assert_harmless(html)
    assert 12 <= html.count('class="segment ') <= 48
    assert "more</p>" in html


def test_a_run_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """What was decided stands all the same."""
    html = page(CONFIRMED, folder=tmp_path)
    assert "teardown: the FINs" in html
    assert "<svg" not in html


def test_notes_are_text() -> None:
    """A note quotes what was on a wire."""
    decision = CONFIRMED._replace(note=SCRIPT, evidence=(Exhibit("teardown", (21,), SCRIPT),))
    html = claims_page([Claim("C05", SCRIPT, SCRIPT, ())], {"C05": decision}, RUNS)
    assert_harmless(html)
    assert sum(SCRIPT in text for text in Page(html).text) == 4
