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


# What a Where is made of; thousands are kept for each one that is ever told.
Place = tuple[int, str, str]


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

    __slots__ = ("_added", "_place", "value")

    def __init__(self, value: int, place: Place | None = None, added: tuple[int, ...] = ()) -> None:
        self.value = value % MODULUS
        self._place = place
        self._added = added

    @property
    def where(self) -> Where | None:
        """Where it stood; None for a number that stood nowhere."""
        return Where(*self._place) if self._place else None

    def __add__(self, other: int) -> "Seq":
        return Seq(self.value + other, self._place, (*self._added, int(other)))

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
        return (self._place[0],) if self._place else ()

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

    _place: Place

    def __new__(cls, value: int, place: Place) -> Self:
        """An int that was found at a place: see `Where`."""
        made = super().__new__(cls, value)
        made._place = place
        return made

    @property
    def where(self) -> Where:
        """Where it stood."""
        return Where(*self._place)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame it stood in."""
        return (self._place[0],)

    def as_found(self) -> str:
        """As the left side of a message."""
        return f"{self.where} {int(self)}"

    def as_expected(self) -> str:
        """As the right side of a message."""
        return f"frame {self.where.frame} {self.where.field} {int(self)}"


class Flags(str):
    """tcpdump's flag letters ("S.") that know which frame they stood in."""

    __slots__ = ("_place", "bits")
    bits: int
    _place: Place

    def __new__(cls, value: int, place: Place) -> Self:
        """The letters of flag bits that were found at a place: see `Where`."""
        made = super().__new__(cls, bits.letters(value))
        made.bits = value
        made._place = place
        return made

    @property
    def where(self) -> Where:
        """Where they stood."""
        return Where(*self._place)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame they stood in."""
        return (self._place[0],)

    def as_found(self) -> str:
        """As the left side of a message."""
        return f"{self.where} [{self}]"

    def as_expected(self) -> str:
        """As the right side of a message."""
        return f"frame {self.where.frame} {self.where.field} [{self}]"
