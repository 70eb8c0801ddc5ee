"""A student's answers to a lab's questions, to be compared with what the student's own capture says."""

import re
from collections.abc import Mapping

Scalar = str | int | float | bool | None

_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})")
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])[ ,_'\u00a0\u202f](?=[0-9]{3}(?![0-9]))")


class Answer:
    """The answer to one question.

    Equal to a number if it is that number, however it is written ("481,914,174", "0x1CB96CFE"); equal to a word if it
    is that word, whatever its case and whether it is joined by hyphens, underscores or spaces.
    """

    __slots__ = ("given",)

    def __init__(self, given: Scalar) -> None:
        self.given = given

    @property
    def number(self) -> int | None:
        """It as a whole number; None if it is none."""
        if isinstance(self.given, bool) or self.given is None:
            return None
        if isinstance(self.given, float):
            return int(self.given) if self.given.is_integer() else None
        text = _BETWEEN_DIGITS.sub("", str(self.given).strip())
        if not _NUMBER.fullmatch(text):
            return None
        return int(text, 16 if "x" in text.lower() else 10)

    @property
    def word(self) -> str:
        """It as a word, to be compared."""
        return _as_word("" if self.given is None else str(self.given))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.word == _as_word(other)
        value = getattr(other, "value", other)  # a Seq's number
        return isinstance(value, int) and self.number == value

    def __hash__(self) -> int:
        return hash(self.word)

    def __repr__(self) -> str:
        return repr(self.given)

    def as_found(self) -> str:
        """As the left side of a message: "answer 'closer'"."""
        return f"the answer is {self.given!r}"


def _as_word(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.strip().casefold()))


def answer_to(question: str, answers: Mapping[str, Scalar]) -> Answer:
    """The answer to a question.

    Raises:
        AssertionError: it was not answered, which fails the check.
    """
    given = answers.get(question)
    if given is None or not str(given).strip():
        raise AssertionError(f"not answered: answers.yaml has no {question}")
    return Answer(given)
