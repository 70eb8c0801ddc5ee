"""The control bits of the TCP header (RFC 9293 §3.1) and tcpdump's letters for them."""

from functools import cache

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << bit for bit in range(9))

# Bits that a sender may set or not without changing what the segment does to the connection: "push" is advice,
# and the three ECN bits (RFC 3168, RFC 9768) speak of congestion.
ADVISORY = PSH | ECE | CWR | AE

# In the order in which tcpdump prints them (print-tcp.c).
_LETTERS = (
    (FIN, "F"),
    (SYN, "S"),
    (RST, "R"),
    (PSH, "P"),
    (ACK, "."),
    (URG, "U"),
    (ECE, "E"),
    (CWR, "W"),
    (AE, "e"),
)
_BITS = {letter: bit for bit, letter in _LETTERS}


@cache  # there are 512
def letters(bits: int) -> str:
    """Tcpdump's letters: "S", "S.", "P.", "F.", "R"; "none" if no bit is set."""
    return "".join(letter for bit, letter in _LETTERS if bits & bit) or "none"


def from_letters(text: str) -> int:
    """The inverse of `letters`.

    Raises:
        ValueError: a letter that tcpdump does not print.
    """
    if text == "none":
        return 0
    bits = 0
    for letter in text:
        if letter not in _BITS:
            raise ValueError(f"{letter!r} is none of tcpdump's flag letters {''.join(_BITS)}")
        bits |= _BITS[letter]
    return bits
