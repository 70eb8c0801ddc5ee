"""Compressed streams (gzip, bzip2, xz), read piece by piece and never beyond a bound."""

import bz2
import lzma
from collections.abc import Callable
from typing import Protocol

from harness.captures.gzipped import Gunzip
from harness.intake.names import Refused

_IN, _OUT = 1 << 16, 1 << 20
_MOST_MEMORY = 100 << 20  # xz -9 needs 65 MiB


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _xz() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)


_MAKERS: tuple[tuple[bytes, Callable[[], _Decompressor]], ...] = (
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", _xz),
)


class _Streams:
    """Decompresses one stream after another, as bzip2 and xz put them; None follows damage."""

    def __init__(self, read: Callable[[int], bytes], make: Callable[[], _Decompressor]) -> None:
        self._read, self._make = read, make
        self._now = make()

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; none at the end or at damage."""
        try:
            while True:
                if self._now.eof:
                    data = (self._now.unused_data or self._read(_IN)).lstrip(b"\0")  # zeros are padding
                    if not data:
                        return b""
                    self._now = self._make()
                else:
                    data = self._read(_IN) if self._now.needs_input else b""
                    if not data and self._now.needs_input:
                        return b""
                if out := self._now.decompress(data, size):
                    return out
        except (OSError, EOFError, lzma.LZMAError):
            return b""


def is_packed(begin: bytes) -> bool:
    """Whether bytes begin like a gzip, bzip2 or xz file."""
    return begin.startswith((b"\x1f\x8b", *(magic for magic, _ in _MAKERS)))


class _Bounded:
    """What goes into a decompressor: streams that hold nothing cost time too."""

    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self._read, self._left = read, most

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*, and no more in all than the bound."""
        piece = self._read(min(size, self._left))
        self._left -= len(piece)
        return piece


class Unpacked:
    """The bytes of a file, decompressed if it is compressed."""

    def __init__(self, read: Callable[[int], bytes], begin: bytes, most: int) -> None:
        """Read by *read*, whose file begins with *begin* and stands at its beginning; at most *most* bytes come out."""
        self._left = most
        self._source = read
        packed = _Bounded(read, most)  # the same bound
        if begin.startswith(b"\x1f\x8b"):
            self._source = Gunzip(packed.read).read
        for magic, make in _MAKERS:
            if begin.startswith(magic):
                self._source = _Streams(packed.read, make).read

    def read(self, size: int) -> bytes:
        """Exactly *size* bytes, fewer only at the end.

        Raises:
            Refused: more than the bound came out.
        """
        out = bytearray()
        while len(out) < size and (piece := self._source(min(_OUT, size - len(out)))):
            self._left -= len(piece)
            if self._left < 0:
                raise Refused("the archive is too large when decompressed; what follows was left out")
            out += piece
        return bytes(out)
