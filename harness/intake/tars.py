"""Tar archives as members (POSIX.1-2024 pax, GNU tar's manual, "Basic Tar Format"), read once from front to back.

Python's tarfile reads headers of any claimed size into memory, and matches them with patterns that a bad header can
make slow (CVE-2024-6232). This keeps what a submission may need: files, their long names, and why the rest is refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.intake.members import Member
from harness.intake.names import Refused
from harness.intake.unpacking import Unpacked

BLOCK = 512
_LONGEST_HEADER = 1 << 16
_LARGEST = 1 << 50
_PIECE = 1 << 20
_KINDS = {
    b"1": "is a hard link, which is not followed; hand in the file itself",
    b"2": "is a symbolic link, which is not followed",
    b"S": "is stored as a sparse file, which is not read; hand in a zip",
}


@dataclass(slots=True)
class _Extended:
    """What the headers before a member's own say of it."""

    name: str | None = None
    size: int | None = None
    refused: str | None = None


def is_tar(begin: bytes) -> bool:
    """Whether the first 512 bytes are a tar header: its checksum fits."""
    return len(begin) >= BLOCK and _checksum_fits(begin[:BLOCK])


def _checksum_fits(block: bytes) -> bool:
    try:
        claimed = _number(block[148:156])
    except Refused:
        return False
    return claimed > 0 and claimed == sum(block[:148]) + 8 * 0x20 + sum(block[156:])


def _number(field: bytes) -> int:
    """Octal digits, or big-endian binary behind a set bit."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
    else:
        digits = field.split(b"\0", 1)[0].strip() or b"0"
        if digits.strip(b"01234567"):
            raise Refused("the tar archive is damaged; what follows was left out")
        value = int(digits, 8)
    if value > _LARGEST:
        raise Refused("the tar archive is damaged; what follows was left out")
    return value


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="surrogateescape")


def tar_members(stream: Unpacked, problem: Callable[[str], None]) -> Iterator[Member]:
    """The members of a tar, each to be read before the next is asked for; those before any damage."""
    try:
        yield from _members(stream)
    except Refused as why:
        problem(str(why))


def _members(stream: Unpacked) -> Iterator[Member]:
    extended = _Extended()
    while True:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise Refused("the tar archive is cut off; hand it in again")
        if not block.strip(b"\0"):
            return
        if not _checksum_fits(block):
            raise Refused("the tar archive is damaged; what follows was left out")
        kind, size = block[156:157], _number(block[124:136])
        if kind in b"xgLK":
            _extend(extended, kind, _header(stream, size))
            continue
        if extended.size is not None:
            size = extended.size
        if kind in b"123456":  # links, devices and folders have no bytes, whatever their size field says
            size = size if kind == b"1" and extended.size is not None else 0
        body = _Body(stream, size)
        yield _member(block, kind, extended, body)
        body.skip()
        extended = _Extended()


def _member(block: bytes, kind: bytes, extended: _Extended, body: "_Body") -> Member:
    name = extended.name
    if name is None:
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and block[345]:
            name = f"{_text(block[345:500])}/{name}"
    folder = kind == b"5" or (kind in (b"0", b"\0") and name.endswith("/"))
    refused = extended.refused
    if not refused and kind not in (b"0", b"\0", b"7", b"5"):
        refused = _KINDS.get(kind, "is neither a file nor a folder")
    return Member(name, body.chunks, refused, folder, body.left)


def _header(stream: Unpacked, size: int) -> bytes | None:
    """The bytes of an extended header; None if it is too large, and was passed over."""
    body = _Body(stream, size)
    data = b"".join(body.chunks()) if size <= _LONGEST_HEADER else None
    body.skip()
    return data


def _extend(extended: _Extended, kind: bytes, data: bytes | None) -> None:
    if data is None:
        extended.refused = "has a header that is too large"
    elif kind == b"L":
        extended.name = _text(data)
    elif kind == b"x":
        for key, value in _records(data):
            if key == "path":
                extended.name = value
            elif key == "size" and value.isascii() and value.isdecimal() and len(value) < 16:
                extended.size = int(value)
            elif key.startswith("GNU.sparse."):
                extended.refused = _KINDS[b"S"]


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    """A pax header's records: the length of each in digits, a blank, KEY=VALUE, and a line's end."""
    at = 0
    while at < len(data):
        length, blank, _ = data[at : at + 8].partition(b" ")
        if not blank or not length.isdigit() or int(length) <= len(length) + 1:
            return
        record = data[at + len(length) + 1 : at + int(length) - 1]
        key, _, value = record.decode(errors="surrogateescape").partition("=")
        yield key, value
        at += int(length)


class _Body:
    """A member's bytes, and the padding behind them."""

    def __init__(self, stream: Unpacked, size: int) -> None:
        self._stream, self.left, self._padding = stream, size, -size % BLOCK

    def chunks(self) -> Iterator[bytes]:
        """The bytes, piece by piece."""
        while self.left:
            piece = self._stream.read(min(_PIECE, self.left))
            self.left -= len(piece)
            yield piece
            if not piece:
                self.left = self._padding = 0
                raise Refused("is cut off; hand the archive in again")

    def skip(self) -> None:
        """Pass over what was not read."""
        try:
            for _ in self.chunks():
                pass
        except Refused:
            if self.left:  # too large, not cut off: the next header would not be found
                raise
        self._stream.read(self._padding)
