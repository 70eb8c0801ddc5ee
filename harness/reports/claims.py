"""What became of an article's claims: the document, and a table for the terminal."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from harness.claim_plugin import VERDICTS, Decision, Exhibit
from harness.language import _, ngettext
from harness.messages import translated
from harness.reports.columns import left, shorten, wrap
from harness.reports.ladder import StyledLine

SCHEMA = "tcp-lab/claims/v1"
_STYLES = {"confirmed": "green", "qualified": "cyan", "refuted": "red", "not-shown": "yellow"}
_MOST_FRAMES = 4
_LEFT = 14  # columns for id and verdict


class ClaimText(Protocol):
    """What is claimed."""

    @property
    def id(self) -> str:
        """As in "C01"."""

    @property
    def text(self) -> str:
        """In one sentence."""


def claims_document(claims: Sequence[ClaimText], decided: Mapping[str, Decision]) -> dict[str, Any]:
    """The document of schema tcp-lab/claims/v1.

    For each claim its text, the verdict, what decided it (frames of the capture in the run folder of that name), and a
    note: what is to be said of it, and where its own words do not hold, why.
    """
    return {
        "schema": SCHEMA,
        "claims": [
            {
                "id": claim.id,
                "text": claim.text,
                "verdict": decided[claim.id].verdict,
                "evidence": [
                    {"run": one.run, "frames": list(one.frames), "says": one.says} for one in decided[claim.id].evidence
                ],
                "note": _note(decided[claim.id]),
            }
            for claim in claims
        ],
    }


def _note(decision: Decision) -> str:
    against = decision.against[:1] if decision.verdict in VERDICTS else ()
    return f"{decision.note} ({against[0]})" if against else decision.note


def _in_one_line(exhibit: Exhibit) -> str:
    frames = ", ".join(map(str, exhibit.frames[:_MOST_FRAMES]))
    more = ", …" if len(exhibit.frames) > _MOST_FRAMES else ""
    told = ngettext("frame {frames}", "frames {frames}", len(exhibit.frames)).format(frames=frames + more)
    where = _(", ").join([exhibit.run, told] if exhibit.frames else [exhibit.run])
    return _(": ").join([where, translated(exhibit.says)])


def _verdict(name: str) -> str:
    words = {
        "confirmed": _("confirmed"),
        "qualified": _("qualified"),
        "refuted": _("refuted"),
        "not-shown": _("not-shown"),
    }
    return words[name]


def claims_table(claims: Sequence[ClaimText], decided: Mapping[str, Decision], *, width: int) -> Iterator[StyledLine]:
    """Each claim with its verdict, what is to be said where it is not just confirmed, and its evidence in one line."""
    for claim in claims:
        decision = decided[claim.id]
        style = _STYLES[decision.verdict]
        first, *rest = wrap(translated(claim.text), width - _LEFT)
        yield f"{claim.id} {left(_verdict(decision.verdict), _LEFT - 4)}{first}", style
        yield from ((f"{'':{_LEFT}}{line}", style) for line in rest)
        if decision.verdict != "confirmed":
            yield from ((f"{'':{_LEFT}}{line}", "") for line in wrap(translated(decision.note), width - _LEFT))
        if decision.evidence:
            said = _in_one_line(decision.evidence[-1])
            yield f"{'':{_LEFT}}{shorten(said, width - _LEFT)}", "dim"
    counts = Counter(decided[claim.id].verdict for claim in claims)
    told = _(", ").join(
        _("{count} {outcome}").format(count=counts[verdict], outcome=_verdict(verdict))
        for verdict in (*VERDICTS, "not-shown")
        if counts[verdict]
    )
    yield "", ""
    words = _("{decided} of {all} claims decided: {counts}")
    total = words.format(decided=len(claims) - counts["not-shown"], all=len(claims), counts=told)
    yield from ((line, "bold") for line in wrap(total, width))
