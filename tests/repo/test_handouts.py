"""The handouts say the same in every language: headings, commands, tables and links; only the words between differ."""

import re
from pathlib import Path

import pytest

from harness.language import ENGLISH, TAGS

LABS = Path(__file__).resolve().parents[2] / "labs"
HANDOUTS = sorted(path.relative_to(LABS) for path in LABS.rglob("README.md"))
OTHERS = [tag for language, tag in TAGS.items() if language != ENGLISH]
each = pytest.mark.parametrize(("handout", "tag"), [(handout, tag) for handout in HANDOUTS for tag in OTHERS], ids=str)


def read(path: Path) -> str:
    return (LABS / path).read_text(encoding="utf-8")


def translated(handout: Path, tag: str) -> Path:
    return handout.with_suffix(f".{tag}.md")


def blocks(text: str) -> list[str]:
    """What is code: fenced, or indented by four."""
    fenced = re.findall(r"^```\w*\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return fenced + re.findall(r"(?:^    .*\n)+", rest, re.MULTILINE)


def prose(text: str) -> str:
    """All else."""
    for block in sorted(blocks(text), key=len, reverse=True):  # a short one may be a part of a long one
        text = text.replace(block, "")
    return text


def links(text: str) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]


def shape(text: str) -> list[str]:
    """The headings' levels, the lists' numbers, and how many cells each row of a table has."""
    marks = (re.match(r"(#+) |(\d+\.) |(-) |(\|)", line) for line in prose(text).splitlines())
    return [f"| × {mark.string.count('|')}" if mark[4] else mark[0] for mark in marks if mark]


@each
def test_the_same_structure(handout: Path, tag: str) -> None:
    """Headings, lists and tables."""
    assert shape(read(translated(handout, tag))) == shape(read(handout))


@each
def test_the_same_commands(handout: Path, tag: str) -> None:
    """Every block of code to the letter, and in the text the same names of files, switches and states."""
    ours, theirs = read(handout), read(translated(handout, tag))
    assert blocks(theirs) == blocks(ours)
    spans = [sorted(set(re.findall(r"`([^`\n]+)`", prose(text).replace("\n", " ")))) for text in (ours, theirs)]
    assert spans[1] == spans[0]


@each
def test_the_same_numbers_and_sources(handout: Path, tag: str) -> None:
    """What is cited, and TCP's names."""
    for pattern in (
        r"RFC \d+",
        r"§[\d.]+\d",
        r"\b(?:SYN|FIN|RST|ACK|ISN|MSL|TIME-WAIT|SYN-ACK|LAST-ACK|ESTABLISHED)\b",
    ):
        found = [set(re.findall(pattern, prose(read(path)))) for path in (handout, translated(handout, tag))]
        assert found[0] == found[1], pattern


@each
def test_links(handout: Path, tag: str) -> None:
    """Each leads to the other; in it links lead to the same files, in its own language where that is there."""
    ours, theirs = links(read(handout)), links(read(translated(handout, tag)))
    assert ours[0] == translated(handout, tag).name
    assert theirs[0] == "README.md"
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        there = Path(one).with_suffix(f".{tag}.md")
        assert other == (str(there) if (LABS / handout.parent / there).exists() else one)
        assert (LABS / handout.parent / other).exists()


@each
def test_it_is_translated(handout: Path, tag: str) -> None:
    """Each paragraph, list item and cell of it."""
    assert tag == "zh-CN"
    for line in re.split(r"\n\n+|\n(?=\d+\. |- |\|)", prose(read(translated(handout, tag)))):
        words = re.sub(r"`[^`]*`|\]\([^)]*\)|\[English\]", "", line)
        assert not re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", words), line
