"""What harness.tcp.values promises: numbers on the 32-bit circle that know where they stood."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tcp.flags import ACK, FIN, PSH, SYN
from harness.tcp.values import MODULUS, Flags, Length, Seq, Where, signed_difference

HALF = MODULUS // 2
SYN_SEQ = Where(1, "initiator", "seq")
SYN_ACK_ACK = Where(2, "responder", "ack")

numbers = st.integers(0, MODULUS - 1) | st.sampled_from([0, 1, HALF - 1, HALF, HALF + 1, MODULUS - 1])
distances = st.integers(-HALF, HALF - 1)

# Seq


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, 0), (1, 1), (MODULUS - 1, MODULUS - 1), (MODULUS, 0), (MODULUS + 7, 7), (-1, MODULUS - 1), (5 * MODULUS, 0)],
)
def test_a_seq_is_32_bits(value: int, shown: int) -> None:
    """Any int is taken modulo 2³²."""
    assert Seq(value).value == shown
    assert repr(Seq(value)) == str(shown)


@pytest.mark.parametrize(
    ("start", "added", "result"),
    [(0, 1, 1), (MODULUS - 1, 1, 0), (MODULUS - 1, 2, 1), (0, -1, MODULUS - 1), (10, 0, 10), (5, MODULUS, 5)],
)
def test_adding_and_subtracting_an_int_wraps(start: int, added: int, result: int) -> None:
    """Seq + int and Seq - int are numbers on the circle again."""
    assert Seq(start) + added == Seq(result)
    assert Seq(start) - -added == Seq(result)


def test_equality_is_by_value_wherever_they_stood() -> None:
    """Two fields of different frames are equal if their 32 bits are; that is what rubrics compare."""
    assert Seq(7, SYN_SEQ) == Seq(7, SYN_ACK_ACK) == Seq(7) == Seq(6, SYN_SEQ) + 1
    assert Seq(7, SYN_SEQ) != Seq(8, SYN_SEQ)


@pytest.mark.parametrize("other", [7, 7.0, "7", None, (7,)])
def test_a_seq_equals_nothing_but_a_seq(other: object) -> None:
    """A bare int is not a sequence number."""
    assert Seq(7) != other
    assert other != Seq(7)


def test_equal_seqs_hash_alike() -> None:
    """A set holds each number once, however it came about."""
    assert {Seq(0, SYN_SEQ), Seq(MODULUS), Seq(MODULUS - 1) + 1} == {Seq(0)}


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
@pytest.mark.parametrize("other", [Seq(1), Seq(2), 2])
def test_a_seq_has_no_order(compare: Callable[[Any, Any], bool], other: object) -> None:
    """On a circle "less than" means nothing, so it is an error and not an answer."""
    with pytest.raises(TypeError):
        compare(Seq(1), other)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        (1, 0, 1),
        (0, 1, -1),
        (5, 5, 0),
        (0, MODULUS - 1, 1),
        (MODULUS - 1, 0, -1),
        (10, MODULUS - 10, 20),
        (HALF - 1, 0, HALF - 1),
        (HALF, 0, -HALF),
        (0, HALF, -HALF),
        (HALF + 1, 0, 1 - HALF),
    ],
)
def test_seq_minus_seq_is_the_signed_distance(a: int, b: int, distance: int) -> None:
    """The short way round, also across the wrap; exactly half way round counts as behind."""
    assert Seq(a) - Seq(b) == distance
    assert Seq(a).distance_from(Seq(b)) == distance
    assert signed_difference(a, b) == distance


@given(a=numbers, b=numbers)
def test_the_distance_is_short_and_leads_back(a: int, b: int) -> None:
    """It is at most half a circle, and adding it to where one started arrives."""
    distance = signed_difference(a, b)
    assert -HALF <= distance < HALF
    assert Seq(b) + distance == Seq(a)


@given(a=numbers, b=numbers)
def test_the_distance_is_antisymmetric(a: int, b: int) -> None:
    """There and back is nothing, but half way round, which is -2³¹ both ways."""
    there, back = signed_difference(a, b), signed_difference(b, a)
    assert (there + back == 0) or (there == back == -HALF)


@given(a=numbers, b=numbers, shift=st.integers())
def test_the_distance_does_not_depend_on_the_isn(a: int, b: int, shift: int) -> None:
    """Both ends of a distance may be moved round the circle together."""
    assert signed_difference(a + shift, b + shift) == signed_difference(a, b)


@given(start=numbers, distance=distances)
def test_what_was_added_is_the_distance(start: int, distance: int) -> None:
    """(Seq + n) - Seq is n, for each n that a distance can be."""
    assert (Seq(start) + distance) - Seq(start) == distance


@given(start=numbers, one=distances, two=distances)
def test_additions_add_up(start: int, one: int, two: int) -> None:
    """Two additions are one addition of the sum."""
    assert Seq(start) + one + two == Seq(start) + (one + two)


# Where they stood


def test_a_sum_keeps_its_place() -> None:
    """Seq + int still says which field of which frame it came from, and how."""
    total = Seq(481914174, SYN_SEQ) + 1
    assert total.where == SYN_SEQ
    assert total.frames == (1,)
    assert total.as_expected() == "frame 1 seq 481914174 + 1 = 481914175"
    assert total.as_found() == "frame 1 (initiator) seq 481914174 + 1 = 481914175"


def test_a_field_says_where_it_stood() -> None:
    """As found it names the sender too; as expected the frame and the field are enough."""
    found = Seq(2737267462, SYN_ACK_ACK)
    assert found.as_found() == "frame 2 (responder) ack 2737267462"
    assert found.as_expected() == "frame 2 ack 2737267462"
    assert found.frames == (2,)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Seq(10) + 5 + -2, "10 + 5 - 2 = 13"),
        (Seq(MODULUS - 1) + 1, "4294967295 + 1 = 0"),
        (Seq(0) + -1, "0 - 1 = 4294967295"),
        (Seq(3) + Length(4, SYN_SEQ) + 1, "3 + 4 + 1 = 8"),
        (Seq(7), "7"),
    ],
)
def test_a_sum_shows_its_terms(number: Seq, text: str) -> None:
    """Every term is shown with its sign, from the number as it stood on the wire to the result."""
    assert number.as_found() == number.as_expected() == text
    assert number.frames == ()


def test_subtracting_an_int_keeps_the_place_too() -> None:
    """Seq - int is Seq + -int."""
    difference = Seq(10, SYN_SEQ) - 1
    assert isinstance(difference, Seq)
    assert difference.as_expected() == "frame 1 seq 10 - 1 = 9"


def test_adding_leaves_the_number_as_it_was() -> None:
    """A number is a value: its sum is another one."""
    isn = Seq(10, SYN_SEQ)
    assert isn + 1 != isn
    assert isn.as_expected() == "frame 1 seq 10"


# Length and Flags


def test_a_length_is_an_int_with_a_place() -> None:
    """It compares and adds like the int, and says where it stood."""
    length = Length(21, Where(4, "initiator", "length"))
    assert length == 21
    assert sorted([length, 3, 99]) == [3, length, 99]
    assert length + 1 == 22
    assert not Length(0, Where(1, "initiator", "length"))
    assert length.frames == (4,)
    assert length.as_found() == "frame 4 (initiator) length 21"
    assert length.as_expected() == "frame 4 length 21"


def test_flags_are_letters_with_a_place() -> None:
    """They compare like tcpdump's text, keep the bits, and say where they stood."""
    flags = Flags(SYN | ACK, Where(2, "responder", "flags"))
    assert flags == "S."
    assert flags != "S"
    assert flags.bits == SYN | ACK
    assert flags.frames == (2,)
    assert flags.as_found() == "frame 2 (responder) flags [S.]"
    assert flags.as_expected() == "frame 2 flags [S.]"


@pytest.mark.parametrize(("bits", "text"), [(0, "none"), (FIN | PSH | ACK, "FP.")])
def test_flags_of_any_bits(bits: int, text: str) -> None:
    """All bits are in the text; none at all has a name as well."""
    assert Flags(bits, SYN_SEQ) == text
