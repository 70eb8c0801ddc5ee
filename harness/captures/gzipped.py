"""Captures that were compressed with gzip (RFC 1952), read piece by piece."""

import io
import re
import zlib
from collections.abc import Callable

from harness.errors import HarnessError

_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits: a gzip member with the largest window
_FIRST_INPUT, _MOST_INPUT = 1 << 9, 1 << 16  # small at first: a file may be nothing but tiny members
_MOST_OUTPUT = 1 << 20
_ZEROS = re.compile(rb"\0*")


def is_gzip(data: bytes) -> bool:
    """Whether it begins like a gzip file."""
    return data[:2] == _MAGIC


class Gunzip:
    """Decompresses all members of a gzip file as they are read; zeros after a member are padding, as for gzip(1).

    Attributes:
        given: how many bytes of output were handed out.
        damage: what was wrong with the file; None as long as nothing is.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Take the compressed bytes from *read*, which gives at most as many as asked for, and none at the end."""
        self._read = read
        self._input = b""
        self._at = 0
        self._member: zlib._Decompress | None = None
        self._size = _FIRST_INPUT
        self._begun = False
        self.given = 0
        self.damage: str | None = None

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; none at the end, be it the file's or that of what could be read."""
        while self.damage is None:
            if self._at == len(self._input):
                self._input, self._at = self._read(_MOST_INPUT), 0
            if self._member is None:
                if self._begun:
                    self._at = _ZEROS.match(self._input, self._at).end()  # type: ignore[union-attr] # it matches nothing too
                if not self._input:
                    return b""
                if self._at < len(self._input):
                    self._member, self._size, self._begun = zlib.decompressobj(_GZIP), _FIRST_INPUT, True
            else:
                out = self._decompress(self._member, size)
                self.given += len(out)
                if out:
                    return out
        return b""

    def _decompress(self, member: "zlib._Decompress", size: int) -> bytes:
        piece = self._input[self._at : self._at + self._size]
        self._size = min(2 * self._size, _MOST_INPUT)
        before = member.copy()
        try:
            out = member.decompress(piece, size)
        except zlib.error:
            out = _salvage(before, piece, size)
            self._damaged(out)
            return out
        left = member.unused_data if member.eof else member.unconsumed_tail  # at the end zlib fills in both
        self._at += len(piece) - len(left)
        if member.eof:
            self._member = None
        elif not piece and not out:  # the file ends inside the member
            self._damaged(out)
        return out

    def _damaged(self, out: bytes) -> None:
        self.damage = f"the gzip stream is damaged after {self.given + len(out)} bytes of output"


def _salvage(member: "zlib._Decompress", piece: bytes, size: int) -> bytes:
    """What a damaged piece holds before the damage: zlib gives nothing of a call that fails."""
    out = bytearray()
    try:
        for at in range(len(piece)):
            if len(out) >= size:
                break
            out += member.decompress(piece[at : at + 1], size - len(out))
    except zlib.error:
        pass
    return bytes(out)


def gunzip(data: bytes, name: str, limit: int) -> tuple[bytes, str | None]:
    """Decompress a whole gzip file.

    Args:
        data: the file's bytes.
        name: for messages.
        limit: the most bytes of output.

    Returns:
        What could be read, and what was wrong with the file, or None if it is whole.

    Raises:
        HarnessError: there is more output than the limit; no more than that was held in memory.
    """
    stream = Gunzip(io.BytesIO(data).read)
    output = bytearray()
    while piece := stream.read(_MOST_OUTPUT):
        output += piece
        if len(output) > limit:
            raise HarnessError(f"{name}: larger than {limit} bytes when decompressed")
    return bytes(output), stream.damage
