"""What a zip archive says of its members (PKWARE's APPNOTE.TXT): its central directory, and local headers."""

import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from harness.intake.names import Refused

_END, _END64, _LOCATOR64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_CENTRAL, _LOCAL = struct.Struct("<4s4B4H3L5H2L"), struct.Struct("<4s2B4HL2L2H")
LOCAL_SIZE = _LOCAL.size
_LONGEST_COMMENT = 0xFFFF
_UNKNOWN32 = 0xFFFFFFFF  # the number stands in the zip64 field
STORED, DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1, 0x8, 0x800  # flags
_UNIX = (3, 19)  # who made it: Unix, macOS; the upper half of its attributes is st_mode then


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """What the central directory says of one member.

    Attributes:
        name: with slashes; a folder's ends with one.
        offset: of its local header, in bytes from the file's beginning.
        packed: its compressed bytes.
        size: its bytes; what it claims.
        crc: CRC-32 of its bytes.
        method: 0 stored, 8 deflated; others are not read.
        refused: why it is not read, if it is not.
        time: seconds since the epoch; None if there is none. Without a time zone in the archive, it is taken for local
            time, as unzip(1) does.
    """

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    method: int
    refused: str | None
    time: float | None

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a zip's central directory stands.

    Attributes:
        entries: how many it claims.
        start: its first byte.
        size: its bytes.
        before: bytes before the zip, which its offsets do not count.
    """

    entries: int
    start: int
    size: int
    before: int


def find_directory(file: BinaryIO) -> Directory | None:
    """Where the central directory of a zip stands; None if there is none, as in a zip that is cut off."""
    length = file.seek(0, 2)
    begin = file.seek(max(0, length - _LONGEST_COMMENT - _END.size))
    tail = file.read()
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
    if at < 0:
        return None
    *_, entries, size, offset, _ = _END.unpack_from(tail, at)
    end = begin + at
    if at >= _LOCATOR64.size + _END64.size and tail[at - _LOCATOR64.size :].startswith(b"PK\6\7"):
        end -= _LOCATOR64.size + _END64.size
        found = tail[end - begin :]
        if not found.startswith(b"PK\6\6"):
            return None
        *_, entries, size, offset = _END64.unpack_from(found)
    before = end - size - offset
    return Directory(entries, end - size, size, before) if before >= 0 else None


def zip_entries(file: BinaryIO, directory: Directory) -> Iterator[ZipEntry]:
    """The central directory's entries, one after another; the consumer decides how many are enough.

    Raises:
        Refused: the directory is damaged.
    """
    at, end = directory.start, directory.start + directory.size
    while at < end:
        file.seek(at)
        fixed = file.read(_CENTRAL.size)
        if len(fixed) < _CENTRAL.size or not fixed.startswith(b"PK\1\2"):
            raise Refused("the archive's directory is damaged; what follows was left out")
        (_, _, system, _, _, flags, method, clock, date, crc, packed, size, name_length, extra_length, comment_length,
         _, _, attributes, offset) = _CENTRAL.unpack(fixed)  # fmt: skip
        name = _name(file.read(name_length), flags)
        stamp, (size, packed, offset) = _extra(file.read(extra_length), (size, packed, offset))
        at += _CENTRAL.size + name_length + extra_length + comment_length
        mode = attributes >> 16 if system in _UNIX else 0
        yield ZipEntry(
            name if not stat.S_ISDIR(mode) or name.endswith("/") else name + "/",
            offset + directory.before,
            packed,
            size,
            crc,
            method,
            _refused(flags, method, mode),
            _local_time(date, clock) if stamp is None else stamp,
        )


def _name(raw: bytes, flags: int) -> str:
    """Its text: UTF-8, which macOS writes without the flag that says so, or else the code page of MS-DOS."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("utf-8" if flags & _UTF8 else "cp437", errors="replace")
    return text.replace("\\", "/")


def _extra(extra: bytes, numbers: tuple[int, int, int]) -> tuple[float | None, tuple[int, int, int]]:
    """The time of modification in UTC, and the numbers that did not fit into 32 bits (APPNOTE 4.5.3)."""
    stamp, found, at = None, list(numbers), 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == 0x5455 and len(field) >= 5 and field[0] & 1:
            stamp = float(struct.unpack_from("<l", field, 1)[0])
        elif kind == 0x0001:
            for index, number in enumerate(numbers):
                if number == _UNKNOWN32 and len(field) >= 8:
                    found[index], field = struct.unpack_from("<Q", field)[0], field[8:]
    return stamp, (found[0], found[1], found[2])


def _local_time(date: int, clock: int) -> float | None:
    try:
        parts = (1980 + (date >> 9), date >> 5 & 15, date & 31, clock >> 11, clock >> 5 & 63, (clock & 31) * 2)
        return time.mktime((*parts, 0, 0, -1)) if date else None
    except (OverflowError, ValueError):
        return None


def _refused(flags: int, method: int, mode: int) -> str | None:
    if flags & _ENCRYPTED:
        return "is encrypted; hand it in without a password"
    if stat.S_ISLNK(mode):
        return "is a symbolic link, which is not followed"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is neither a file nor a folder"
    if method not in (STORED, DEFLATED):
        return f"is compressed by method {method}, which is not read; zip it anew in the ordinary way"
    return None


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """The header before a member's bytes.

    Attributes:
        entry: what it says; the sizes and the CRC are 0 if they follow the bytes.
        start: where the bytes begin.
        sizes_follow: whether a data descriptor follows the bytes (APPNOTE 4.3.9).
    """

    entry: ZipEntry
    start: int
    sizes_follow: bool


def local_header(file: BinaryIO, at: int) -> LocalHeader | None:
    """The local header at an offset, before the file's position afterwards; None if none is there."""
    file.seek(at)
    fixed = file.read(_LOCAL.size)
    if len(fixed) < _LOCAL.size or not fixed.startswith(b"PK\3\4"):
        return None
    _, _, _, flags, method, clock, date, crc, packed, size, name_length, extra_length = _LOCAL.unpack(fixed)
    name = _name(file.read(name_length), flags)
    _, (size, packed, _) = _extra(file.read(extra_length), (size, packed, 0))
    start = at + _LOCAL.size + name_length + extra_length
    refused = _refused(flags, method, 0)
    entry = ZipEntry(name, at, packed, size, crc, method, refused, _local_time(date, clock))
    return LocalHeader(entry, start, bool(flags & _SIZES_FOLLOW))
