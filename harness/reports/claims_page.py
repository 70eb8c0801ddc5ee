"""An article's claims as a page: its words, the verdict, and what decides, as a ladder beside tcpdump's lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.claim_plugin import VERDICTS, Decision
from harness.errors import HarnessError
from harness.evidence import Evidence, evidence_of_run
from harness.language import _
from harness.messages import translated
from harness.reports.claims import ClaimText
from harness.reports.gradebook import printable
from harness.reports.page.exhibits import exhibits
from harness.reports.page.rendering import render

CLAIMS_PAGE = "claims.html"
_MARKS = {"confirmed": "✓", "qualified": "≈", "refuted": "✗", "not-shown": "?"}
_MOST_EXHIBITS = 4  # of one claim
_LONGEST = 1000


def claims_page(claims: Sequence[ClaimText], decided: Mapping[str, Decision], folder: Path) -> str:
    """The page.

    Args:
        claims: those that were decided.
        decided: what became of each, by its id.
        folder: where the run folder of each lab stands.
    """
    runs: dict[str, Evidence | None] = {}
    for decision in decided.values():
        for exhibit in decision.evidence:
            if exhibit.run not in runs:
                runs[exhibit.run] = _run(folder / exhibit.run)
    words = {
        "confirmed": _("confirmed"),
        "qualified": _("qualified"),
        "refuted": _("refuted"),
        "not-shown": _("not shown"),
    }
    counts = Counter(decided[claim.id].verdict for claim in claims)
    return render(
        "claims.html",
        claims=[_claim(claim, decided[claim.id], runs, words) for claim in claims],
        counts=[(words[verdict], counts[verdict]) for verdict in (*VERDICTS, "not-shown") if counts[verdict]],
    )


def _run(folder: Path) -> Evidence | None:
    try:
        return evidence_of_run(folder)
    except HarnessError:
        return None  # what it showed was decided; it can only not be drawn


def _claim(
    claim: ClaimText, decision: Decision, runs: Mapping[str, Evidence | None], words: Mapping[str, str]
) -> dict[str, Any]:
    shown = []
    for exhibit in decision.evidence[:_MOST_EXHIBITS]:
        evidence = runs[exhibit.run]
        drawn = exhibits(evidence, exhibit.frames) if evidence else []
        shown.append({"run": exhibit.run, "says": printable(translated(exhibit.says), _LONGEST), "drawn": drawn})
    return {
        "id": claim.id,
        "text": printable(translated(claim.text), _LONGEST),
        "chinese": getattr(claim, "chinese", ""),
        "verdict": decision.verdict,
        "word": words[decision.verdict],
        "mark": _MARKS[decision.verdict],
        "note": printable(translated(decision.note), _LONGEST),
        "exhibits": shown,
        "more": max(0, len(decision.evidence) - _MOST_EXHIBITS),
    }
