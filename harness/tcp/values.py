"""Values that know where they stood on the wire, so that a failed comparison explains itself.

`Seq` is a sequence number (RFC 9293 §3.4): 32 bits, wraps, and has no order, since "less than" means nothing on a
circle. `Length` and `Flags` compare like the int and the text they are.
"""

from typing import NamedTuple, Self

from harness.tcp import flags as bits

MODULUS = 1 << 32


def signed_difference(a: int, b: int) -> int:
    """A - b on the 32-bit circle, the short way round: from -2³¹ to 2³¹ - 1."""
    return (a - b + (MODULUS >> 1)) % MODULUS - (MODULUS >> 1)


class Where(NamedTuple):
    """Where a value stood: the field of a frame, and which end sent it ("initiator" or "responder")."""

    frame: int
    sender: str
    field: str

    def __str__(self) -> str:
        return f"frame {self.frame} ({self.sender}) {self.field}"


class Seq:
    """A sequence or acknowledgement number.

    Equal to another if the 32-bit values are equal, wherever they stood; + and - an int wrap; Seq - Seq is the
    signed distance. There is no <.
    """

    __slots__ = ("_added", "value", "where")

    def __init__(self, value: int, where: Where | None = None, added: tuple[int, ...] = ()) -> None:
        self.value = value % MODULUS
        self.where = where
        self._added = added

    def __add__(self, other: int) -> "Seq":
        return Seq(self.value + other, self.where, (*self._added, int(other)))

    def __sub__(self, other: "Seq | int") -> "Seq | int":
        if isinstance(other, Seq):
            return signed_difference(self.value, other.value)
        return self + -other

    def distance_from(self, other: "Seq") -> int:
        """Seq - Seq, for type checkers: how far this number is ahead of *other* (negative: behind)."""
        return signed_difference(self.value, other.value)

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Seq) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return str(self.value)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame it stood in."""
        return (self.where.frame,) if self.where else ()

    def as_found(self) -> str:
        """As the left side of a message: "frame 2 (responder) ack 2737267462"."""
        return f"{self.where} {self._sum()}" if self.where else self._sum()

    def as_expected(self) -> str:
        """As the right side: "frame 1 seq 481914174 + 1 = 481914175"."""
        place = f"frame {self.where.frame} {self.where.field} " if self.where else ""
        return place + self._sum()

    def _sum(self) -> str:
        if not self._added:
            return str(self.value)
        start = (self.value - sum(self._added)) % MODULUS
        terms = "".join(f" {'-' if n < 0 else '+'} {abs(n)}" for n in self._added)
        return f"{start}{terms} = {self.value}"


class Length(int):
    """A number of bytes that knows which frame it is the length of."""

    where: Where

    def __new__(cls, value: int, where: Where) -> Self:
        """An int that was found at *where*."""
        made = super().__new__(cls, value)
        made.where = where
        return made

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame it stood in."""
        return (self.where.frame,)

    def as_found(self) -> str:
        """As the left side of a message."""
        return f"{self.where} {int(self)}"

    def as_expected(self) -> str:
        """As the right side of a message."""
        return f"frame {self.where.frame} {self.where.field} {int(self)}"


class Flags(str):
    """tcpdump's flag letters ("S.") that know which frame they stood in."""

    __slots__ = ("bits", "where")
    bits: int
    where: Where

    def __new__(cls, value: int, where: Where) -> Self:
        """The letters of flag bits that were found at *where*."""
        made = super().__new__(cls, bits.letters(value))
        made.bits = value
        made.where = where
        return made

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame they stood in."""
        return (self.where.frame,)

    def as_found(self) -> str:
        """As the left side of a message."""
        return f"{self.where} [{self}]"

    def as_expected(self) -> str:
        """As the right side of a message."""
        return f"frame {self.where.frame} {self.where.field} [{self}]"
