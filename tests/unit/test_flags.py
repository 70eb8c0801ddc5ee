"""What harness.tcp.flags promises: the header's bits, and tcpdump's letters for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tcp.flags import ACK, ADVISORY, AE, CWR, ECE, FIN, PSH, RST, SYN, URG, from_letters, letters

# RFC 9293 §3.1: the control bits from the right; AE is the bit before them (RFC 9768).
HEADER = {FIN: 0x001, SYN: 0x002, RST: 0x004, PSH: 0x008, ACK: 0x010, URG: 0x020, ECE: 0x040, CWR: 0x080, AE: 0x100}


@pytest.mark.parametrize(("bit", "in_header"), HEADER.items())
def test_bits_are_the_headers(bit: int, in_header: int) -> None:
    """Each flag is its bit of the 16 that hold data offset and flags."""
    assert bit == in_header


def test_every_set_of_flags_has_letters_and_they_lead_back() -> None:
    """All 512 sets: no two look alike, and reading the letters gives the bits again."""
    written = {bits: letters(bits) for bits in range(1 << 9)}
    assert len(set(written.values())) == len(written)
    assert {bits: from_letters(text) for bits, text in written.items()} == {bits: bits for bits in written}


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (SYN, "S"),
        (SYN | ACK, "S."),
        (ACK, "."),
        (PSH | ACK, "P."),
        (FIN | ACK, "F."),
        (FIN | PSH | ACK, "FP."),
        (RST, "R"),
        (RST | ACK, "R."),
        (ACK | URG, ".U"),
        (SYN | ECE | CWR, "SEW"),
        (SYN | ACK | ECE, "S.E"),
        (SYN | ECE | CWR | AE, "SEWe"),
        (0, "none"),
        (0x1FF, "FSRP.UEWe"),
    ],
)
def test_letters_stand_in_tcpdumps_order(bits: int, text: str) -> None:
    """FIN first, then SYN, RST, PSH, ACK, URG and ECN's three, as tcpdump prints them."""
    assert letters(bits) == text
    assert from_letters(text) == bits


@given(text=st.permutations("FSRP.UEWe").flatmap(lambda order: st.integers(0, 9).map(lambda n: "".join(order[:n]))))
def test_letters_are_read_in_any_order(text: str) -> None:
    """A set has no order: only writing has one."""
    assert set(letters(from_letters(text) or ACK)) == set(text or ".")


@pytest.mark.parametrize("text", ["X", "s", "SA", "S ", "[S]", "S.X", "NONE", "0", "A"])
def test_other_letters_are_refused(text: str) -> None:
    """What tcpdump does not print is an error that names the letter and the right ones."""
    with pytest.raises(ValueError, match=r"is none of tcpdump's flag letters FSRP\.UEWe"):
        from_letters(text)


def test_advice_is_not_control() -> None:
    """PSH and ECN's bits do nothing to a connection; the others do."""
    assert ADVISORY == PSH | ECE | CWR | AE
    assert not ADVISORY & (SYN | FIN | RST | ACK | URG)
