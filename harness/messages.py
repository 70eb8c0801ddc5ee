"""Messages that are made in English where things are judged, and translated only when they are shown to a person.

Judging knows of no languages: a check's message is one English text, the same for everybody, and it stands so in every
document for programs. What was an f-string in a rubric (`f"{segment} comes after the RST of frame {rst.frame}"`) is a
template in the catalogue ("{0} comes after the RST of frame {1:word}"; `harness.catalogues` takes it from the source).
Here a message is matched with the templates, and told by the translation of the one that fits. What a placeholder
stands for is looked up in turn, and stays as it is if it is no message itself; so does what pytest adds behind one.

Messages quote what students hand in: matching takes time in proportion to their length, whatever they say. It looks for
a template's fixed words from left to right, each at the first place where it stands, and never goes back.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from string import Formatter

from harness.language import ENGLISH, _, messages, spoken

WORD = "word"  # "{0:word}" stands for something without spaces, such as a number
LONGEST = 2000  # characters of a message; what is longer stays as it is
_DEPTH = 4  # messages within messages
_WORD = re.compile(r"\S*[^\s,:;]")  # what "{0:word}" stands for
_ENGLISH = re.compile(r"(?<!\S)[A-Za-z]{2,}[,:;]?(?!\S)")
_GAP = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])")
_OR = re.compile(r"(\((?:not )?\w+ or )(.*)(\))", re.DOTALL)  # as pytest tells of `assert a or b`


@dataclass(frozen=True, slots=True)
class Template:
    """A message with placeholders.

    Attributes:
        text: as it stands in the catalogue: "frame {0:word} is [{1}]".
        fixed: what stands before, between and behind its placeholders: one more than these.
        words: for each placeholder, whether it stands for something without spaces.
        says: the translation.
    """

    text: str
    fixed: tuple[str, ...]
    words: tuple[bool, ...]
    says: str

    @property
    def weight(self) -> int:
        """How much it tells: of the templates that fit, the one with most fixed text is meant."""
        return sum(map(len, self.fixed))

    def match(self, message: str, *, tail: bool) -> tuple[list[str], str] | None:
        """What its placeholders stand for in a message, and what stands behind; None if it does not fit.

        Args:
            message: the message.
            tail: whether more may stand behind, after a space.
        """
        if not message.startswith(self.fixed[0]):
            return None
        found, place = list[str](), len(self.fixed[0])
        for number, word in enumerate(self.words):
            stop = self._stop(message, place, number, tail=tail)
            if stop < 0 or (word and not _WORD.fullmatch(message, place, stop)):
                return None
            found.append(message[place:stop])
            place = stop + len(self.fixed[number + 1])
        rest = message[place:]
        return (found, rest) if not rest or (tail and rest.startswith(" ")) else None

    def _stop(self, message: str, place: int, number: int, *, tail: bool) -> int:
        """Where a placeholder ends that begins at a place; negative: nowhere."""
        following = self.fixed[number + 1]
        if number + 1 < len(self.words):
            return message.find(following, place) if following else place
        if not following:
            end = message.find(" ", place) if self.words[number] and tail else -1
            return len(message) if end < 0 else end
        stop = len(message) - len(following)
        if stop >= place and message.endswith(following):
            return stop
        return message.find(f"{following} ", place) if tail else -1


def template(text: str, says: str = "") -> Template:
    """Take a template apart."""
    fixed, words = [""], list[bool]()
    for literal, field, kind, _conversion in Formatter().parse(text):
        fixed[-1] += literal
        if field is not None:
            words.append(kind == WORD)
            fixed.append("")
    return Template(text, tuple(fixed), tuple(words), says)


class _Known:
    """A language's templates, found by a word that a message must hold to fit."""

    def __init__(self, language: str) -> None:
        every = [template(text, says) for text, says in messages(language).items()]
        self.exact = {one.text: one.says for one in every if not one.words}
        # A word that touches a placeholder may be part of a longer one in a message.
        words = [{word for text in _apart(one) for word in _ENGLISH.findall(text)} for one in every]
        often = Counter(word for those in words for word in those)
        self._by_word: dict[str, list[Template]] = {}
        for one, those in zip(every, words, strict=True):
            rarest = min(sorted(those), key=often.__getitem__, default="")
            self._by_word.setdefault(rarest, []).append(one)

    def tell(self, message: str, *, tail: bool, depth: int = _DEPTH) -> str | None:
        """A message in this language; None if nothing fits."""
        if (exact := self.exact.get(message)) is not None:
            return exact
        best: tuple[tuple[int, bool], Template, list[str], str] | None = None
        for one in self._candidates(message):
            if matched := one.match(message, tail=tail):
                rank = (one.weight, not matched[1])
                if best is None or rank > best[0]:
                    best = rank, one, *matched
        if best is None:
            return self._list(message, depth)
        one, values, rest = best[1:]
        told = [self.tell(value, tail=False, depth=depth - 1) if depth else None for value in values]
        said = one.says.format(*(value if there is None else there for there, value in zip(told, values, strict=True)))
        return _GAP.sub("", said) + rest

    def _candidates(self, message: str) -> Iterator[Template]:
        for word in dict.fromkeys(["", *_ENGLISH.findall(message)]):
            yield from self._by_word.get(word, ())

    def _list(self, message: str, depth: int) -> str | None:
        """Several messages in one, with commas between them, or one behind another's colon."""
        if not depth:
            return None
        for parts, between in ((message.split(", "), _(", ")), (message.split(": ", 1), _(": "))):
            told = [self.tell(part, tail=False, depth=0) for part in parts] if len(parts) > 1 else []
            if any(told):
                return between.join(part if one is None else one for one, part in zip(told, parts, strict=True))
        return None


def _apart(one: Template) -> Iterator[str]:
    """A template's fixed texts, without the words that a placeholder touches."""
    for place, text in enumerate(one.fixed):
        kept = text
        if place and not text.startswith(" "):
            kept = kept[kept.find(" ") :] if " " in kept else ""
        if place + 1 < len(one.fixed) and not text.endswith(" "):
            kept = kept[: kept.rfind(" ") + 1]
        yield kept


@cache
def _known(language: str) -> _Known:
    return _Known(language)


@lru_cache(maxsize=1 << 12)  # titles come again with every submission
def _told(message: str, language: str) -> str:
    if len(message) > LONGEST:
        return message
    known = _known(language)
    # A parametrised check's title has its parameter behind: "… (initiator)".
    title, parameter = message.rpartition(" (")[::2]
    if parameter.endswith(")") and (said := known.exact.get(title)) is not None:
        given = known.tell(parameter[:-1], tail=False) or parameter[:-1]
        return _("{title} ({parameter})").format(title=said, parameter=given)
    if explained := _OR.fullmatch(message):
        return explained[1] + _told(explained[2], language) + explained[3]
    return known.tell(message, tail=True) or message


def translated(message: str) -> str:
    """A message in the language that is spoken, as far as its catalogue knows it; in English it stays as it is."""
    language = spoken()
    return message if language == ENGLISH or not message else _told(message, language)
