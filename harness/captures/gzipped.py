"""Captures that were compressed with gzip (RFC 1952), read within a limit."""

import re
import zlib

from harness.errors import HarnessError

_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits: a gzip member with the largest window
_FIRST_INPUT, _MOST_INPUT = 1 << 9, 1 << 16  # small at first: a file may be nothing but tiny members
_MOST_OUTPUT = 1 << 20
_ZEROS = re.compile(rb"\0*")


def is_gzip(data: bytes) -> bool:
    """Whether it begins like a gzip file."""
    return data[:2] == _MAGIC


class _Output:
    """The bytes so far, never more than the limit and one piece."""

    def __init__(self, name: str, limit: int) -> None:
        self.bytes = bytearray()
        self._name = name
        self._limit = limit

    def add(self, piece: bytes) -> None:
        self.bytes += piece
        if len(self.bytes) > self._limit:
            raise HarnessError(f"{self._name}: larger than {self._limit} bytes when decompressed")


def _salvage(member: "zlib._Decompress", piece: bytes, output: _Output) -> None:
    """Add what a damaged piece holds before the damage: zlib gives nothing of a call that fails."""
    try:
        for at in range(len(piece)):
            output.add(member.decompress(piece[at : at + 1]))
    except zlib.error:
        return


def _member(data: bytes, at: int, output: _Output) -> int | None:
    """Decompress the member that begins at an offset; where it ends, or None if it is damaged."""
    member = zlib.decompressobj(_GZIP)
    size = _FIRST_INPUT
    while not member.eof:
        piece = data[at : at + size]
        if not piece:
            return None
        at += len(piece)
        size = min(2 * size, _MOST_INPUT)
        more = True
        while more:
            before = member.copy()
            try:
                out = member.decompress(piece, _MOST_OUTPUT)
            except zlib.error:
                _salvage(before, piece, output)
                return None
            output.add(out)
            piece = member.unconsumed_tail
            more = not member.eof and (bool(piece) or len(out) == _MOST_OUTPUT)
    return at - len(member.unused_data)


def gunzip(data: bytes, name: str, limit: int) -> tuple[bytes, str | None]:
    """Decompress all members of a gzip file; zeros after a member are padding, as for gzip(1).

    Args:
        data: the file's bytes.
        name: for messages.
        limit: the most bytes of output.

    Returns:
        What could be read, and what was wrong with the file, or None if it is whole.

    Raises:
        HarnessError: there is more output than the limit; no more than that was held in memory.
    """
    output = _Output(name, limit)
    at: int | None = 0
    while at is not None:
        at = _member(data, at, output)
        if at is not None:
            padding = _ZEROS.match(data, at)
            at = padding.end() if padding else at
            if at == len(data):
                return bytes(output.bytes), None
    return bytes(output.bytes), f"the gzip stream is damaged after {len(output.bytes)} bytes of output"
