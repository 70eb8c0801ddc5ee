"""What is told of claims: the document, and the table for the terminal."""

from dataclasses import dataclass

import pytest

from harness.claim_plugin import Decision, Exhibit
from harness.reports.claims import claims_document, claims_table
from labs.article.claims import CLAIMS

LONG = "word " * 60


@dataclass(frozen=True)
class Told:
    """A claim."""

    id: str
    text: str


SOME = (
    Told("C01", "It is so."),
    Told("C02", "It is so, and this takes more than one line of every width that a terminal may have. " * 2),
    Told("C03", "It is not so."),
    Told("C04", "Nobody knows."),
)
DECIDED = {
    "C01": Decision("C01", "confirmed", "It is.", (Exhibit("lab", (7,), "this"),), ()),
    "C02": Decision(
        "C02",
        "qualified",
        LONG.strip(),
        (Exhibit("lab", (1, 2), "these"), Exhibit("other-lab", (1, 2, 3, 4, 5), LONG.strip())),
        ("not confirmed: frame 3 is [F.]",),
    ),
    "C03": Decision(
        "C03", "refuted", "It is not.", (Exhibit("lab", (), "no frame"),), ("not confirmed: a", "not qualified: b")
    ),
    "C04": Decision("C04", "not-shown", "the lab lab: there is no run of it", (), ("not confirmed: a",)),
}


def test_the_document() -> None:
    """Its schema, whole: every claim in order, as it is decided."""
    assert claims_document(SOME, DECIDED) == {
        "schema": "tcp-lab/claims/v1",
        "claims": [
            {
                "id": "C01",
                "text": SOME[0].text,
                "verdict": "confirmed",
                "evidence": [{"run": "lab", "frames": [7], "says": "this"}],
                "note": "It is.",
            },
            {
                "id": "C02",
                "text": SOME[1].text,
                "verdict": "qualified",
                "evidence": [
                    {"run": "lab", "frames": [1, 2], "says": "these"},
                    {"run": "other-lab", "frames": [1, 2, 3, 4, 5], "says": LONG.strip()},
                ],
                "note": f"{LONG.strip()} (not confirmed: frame 3 is [F.])",
            },
            {
                "id": "C03",
                "text": "It is not so.",
                "verdict": "refuted",
                "evidence": [{"run": "lab", "frames": [], "says": "no frame"}],
                "note": "It is not. (not confirmed: a)",
            },
            {
                "id": "C04",
                "text": "Nobody knows.",
                "verdict": "not-shown",
                "evidence": [],
                "note": "the lab lab: there is no run of it",
            },
        ],
    }


def table(width: int) -> list[str]:
    """Its lines."""
    return [text for text, _ in claims_table(SOME, DECIDED, width=width)]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(width: int) -> None:
    lines = table(width)
    assert max(map(len, lines)) <= width
    assert [line[:13].split() for line in lines if line[:1] == "C"] == [
        ["C01", "confirmed"],
        ["C02", "qualified"],
        ["C03", "refuted"],
        ["C04", "not-shown"],
    ]
    # Wrapped, nothing of a claim or of what is to be said is lost; its evidence is one line.
    said = " ".join(line[14:] for line in lines)
    for claim in SOME:
        assert " ".join(claim.text.split()) in " ".join(said.split())
    assert LONG.strip() in said
    assert len([line for line in lines if "other-lab, frames 1, 2, 3, 4, …: word" in line]) == 1


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("decided", [1, 10, 20])
def test_the_longest_counts_fit(width: int, decided: int) -> None:
    """With the article's claims, of each verdict some."""
    kinds = ("confirmed", "qualified", "refuted", *("not-shown",) * decided)
    found = {claim.id: Decision(claim.id, kinds[n % len(kinds)], LONG, (), ()) for n, claim in enumerate(CLAIMS)}
    assert max(len(text) for text, _ in claims_table(CLAIMS, found, width=width)) <= width


def test_the_table_tells() -> None:
    """What is to be said where it is not just confirmed, the last piece of evidence, and the counts."""
    assert table(100)[:2] == ["C01 confirmed It is so.", "              lab, frame 7: this"]
    assert table(100)[-7:] == [
        "C03 refuted   It is not so.",
        "              It is not.",
        "              lab: no frame",
        "C04 not-shown Nobody knows.",
        "              the lab lab: there is no run of it",
        "",
        "3 of 4 claims decided: 1 confirmed, 1 qualified, 1 refuted, 1 not-shown",
    ]
    only = [text for text, _ in claims_table(SOME[:1], DECIDED, width=80)]
    assert only[-1] == "1 of 1 claims decided: 1 confirmed"


def test_each_verdict_has_its_colour() -> None:
    styles = {text[:3]: style for text, style in claims_table(SOME, DECIDED, width=80) if text[:1] == "C"}
    assert styles == {"C01": "green", "C02": "cyan", "C03": "red", "C04": "yellow"}
