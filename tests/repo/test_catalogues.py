"""Every text for people is in every catalogue, and every message that rubrics make of captures is found there."""

import re
from collections.abc import Iterator
from string import Formatter

import pytest
from babel.messages.catalog import Catalog, Message

from harness.catalogues import as_text, extracted, is_prose, merged, translations
from harness.cli import ROOT
from harness.grading.deciding import decide
from harness.grading.judging import labs
from harness.grading.proving import _judge_all, _made, declared, goods_of
from harness.language import CATALOGUES, read_catalogue, speaking
from harness.messages import template, translated
from harness.reports.claims import claims_table
from harness.reports.columns import cells
from labs.article.claims import CLAIMS

EACH = pytest.mark.parametrize("language", CATALOGUES)
_CHINESE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")
_PRINTF = re.compile(r"%\((\w+)\)s")
# What is the same in every language: names of fields, and marks.
TECHNICAL = {"rtt {ms} ms", "FIN {sum}"}
REPRODUCED = ROOT / "tests" / "data" / "reproduced"
MOST = 100  # mutants of a lab that are judged; a sample of all


@pytest.fixture(scope="module")
def source() -> Catalog:
    """What the source has to translate."""
    return extracted()


def key(one: Message) -> tuple[str | None, object]:
    return one.context, one.id


def words(one: Message) -> str:
    """An entry's text; the plural where it has one."""
    return one.id if isinstance(one.id, str) else one.id[-1]


def placeholders(text: str, *, message: bool) -> set[str]:
    """The names of what is to be filled in."""
    if not message and _PRINTF.search(text):
        return set(_PRINTF.findall(text))
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}


@EACH
def test_the_catalogue_has_what_the_source_says(language: str, source: Catalog) -> None:
    """Nothing lacks a translation, is there for nothing, or is in doubt: ./invoke catalogue shows what is to do."""
    there, wanted = (
        {key(one): one for one in read_catalogue(language) if one.id},
        {key(one): one for one in source if one.id},
    )
    assert not [one for one in wanted if one not in there or not translations(there[one])], "not translated"
    assert not [one for one in there if one not in wanted], "used nowhere"
    assert not [one for one, entry in there.items() if entry.fuzzy], "fuzzy"


@EACH
def test_the_catalogue_is_as_it_is_written(language: str, source: Catalog) -> None:
    """To write it again changes nothing: neither dates nor line numbers stand in it."""
    path = CATALOGUES[language]
    assert as_text(merged(language, source), path.parents[1].name) == path.read_text(encoding="utf-8")


@EACH
def test_placeholders_are_the_same(language: str) -> None:
    for one in read_catalogue(language):
        for said in translations(one) if one.id else []:
            message = one.context is not None
            assert placeholders(said, message=message) == placeholders(words(one), message=message), said


def test_chinese_is_chinese() -> None:
    """A translation without any Chinese character, or Chinese punctuation, is none."""
    for one in read_catalogue("zh"):
        if one.id and words(one) not in TECHNICAL:
            assert all(_CHINESE.search(said) for said in translations(one)), words(one)


def test_technical_texts_are_there(source: Catalog) -> None:
    """What is excused is told somewhere."""
    assert {words(one) for one in source if one.id} >= TECHNICAL


def test_spaces_at_the_ends_have_a_reason() -> None:
    """Who puts texts together counts on them, unless Chinese punctuation takes their place."""
    for one in read_catalogue("zh"):
        text = words(one)
        for said in translations(one) if one.id else []:
            assert said.strip() == said or text.strip() != text, said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{0} comes after the last ACK", True),
        ("frame {0:word}: {1}", True),
        ("FIN alone", True),
        ("initiator", False),
        ("{0}: {1}", False),
        ("capture.pcap", False),
        ("seq {0} ack {1}", False),
        (r"(\d+) packets", False),
    ],
)
def test_what_counts_as_prose(text: str, expected: bool) -> None:
    assert is_prose(text) == expected


def messages_of(lab: str) -> Iterator[str]:
    """What a lab's rubric says of mutants of its good captures."""
    wanted = declared(lab)
    mutants = [mutant for good in goods_of(wanted) for mutant in _made(wanted.mutants, good)]
    sample = mutants[:: max(1, len(mutants) // MOST)]
    for checks in _judge_all(lab, sample, None, lambda _step: None):
        yield from (check.message for check in checks or () if check.message)


def is_pytests(message: str) -> bool:
    """Whether pytest made a message of a bare assert."""
    return bool(re.match(r"(?:not )?[\[('\d]|not (?:<|True$)|(?:True|False|None)\b", message))


@pytest.mark.parametrize("lab", labs())
def test_no_message_lacks_a_template(lab: str) -> None:
    """Whatever a mutant makes a rubric say is told in Chinese, but for what pytest itself says of a bare assert."""
    found = set(messages_of(lab))
    assert len(found) > 5
    with speaking("zh"):
        lacking = [one for one in found if not is_pytests(one) and not _CHINESE.search(translated(one))]
    assert not lacking
    assert len([one for one in found if not is_pytests(one)]) > len(found) / 2


def test_claims_are_told() -> None:
    """Each claim, what is said of it, and its evidence where that is prose."""
    decided = decide(ROOT / "labs/article/test_claims.py", REPRODUCED, tuple(claim.id for claim in CLAIMS))
    with speaking("zh"):
        for claim in CLAIMS:
            assert _CHINESE.search(translated(claim.text)), claim.text
            found = decided[claim.id]
            assert _CHINESE.search(translated(found.note)), found.note
            for said in (*found.against, *(one.says for one in found.evidence if is_prose(one.says))):
                assert _CHINESE.search(translated(said)) or "tcpdump: " in said, said
        lines = [line for line, _ in claims_table(CLAIMS, decided, width=80)]
    assert max(map(cells, lines)) <= 80
    assert "21 条论断中已判定 21 条" in lines[-1]


def test_titles_are_told(source: Catalog) -> None:
    """A title has no placeholders: what it says is found as it stands."""
    titles = [words(one) for one in source if one.context and any("/test_" in path for path, _ in one.locations)]
    with speaking("zh"):
        assert all(_CHINESE.search(translated(title)) for title in titles if not template(title).words)
