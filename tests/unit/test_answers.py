"""A student's answer, compared with what a capture says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import Answer, Scalar, answer_to
from harness.tcp.values import Length, Seq, Where


@pytest.mark.parametrize(
    "given_", [481914174, "481914174", "481,914,174", " 481 914 174 ", "0x1cb96d3e", "481_914_174", 481914174.0]
)
def test_a_number_however_it_is_written(given_: Scalar) -> None:
    assert Answer(given_) == 481914174
    assert Answer(given_) == Seq(481914174)
    assert Answer(given_) != 481914173


@pytest.mark.parametrize("given_", ["48,19", "1e3", "12abc", "", None, True, "4819.5", 4819.5, "٣", "1,2,3", "9" * 30])
def test_what_is_no_number(given_: Scalar) -> None:
    assert Answer(given_).number is None
    assert Answer(given_) != 1
    assert Answer(given_) != 4819


@pytest.mark.parametrize("given_", ["four-segment", "Four Segment", " FOUR_segment\n"])
def test_a_word_however_it_is_written(given_: str) -> None:
    assert Answer(given_) == "four-segment"
    assert Answer(given_) != "three-segment"


@given(st.integers(0, 2**32 - 1))
def test_any_number(number: int) -> None:
    for text in (str(number), f"{number:,}", hex(number)):
        assert Answer(text) == number
        assert Answer(text) == Length(number, Where(1, "initiator", "length"))


@pytest.mark.parametrize("answers", [{}, {"closer": None}, {"closer": "  "}, {"Closer": "initiator"}])
def test_not_answered(answers: dict[str, Scalar]) -> None:
    with pytest.raises(AssertionError, match=r"not answered: answers\.yaml has no closer"):
        answer_to("closer", answers)


def test_what_it_says_of_itself() -> None:
    assert answer_to("closer", {"closer": 0}).as_found() == "the answer is 0"
    assert hash(Answer("A b")) == hash(Answer("a-B"))
