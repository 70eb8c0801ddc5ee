"""Zip archives as members: bounded in time and memory, whatever they claim.

Python's zipfile makes an object of each entry of the central directory before the first can be looked at, and finds
no overlapping entries before 3.12. This reads one entry after another, and knows the two methods that all programs use.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from harness.errors import HarnessError
from harness.intake.contents import Limits
from harness.intake.members import Member
from harness.intake.names import Refused, is_dropping
from harness.intake.zip_directory import (
    DEFLATED,
    LOCAL_SIZE,
    LocalHeader,
    ZipEntry,
    find_directory,
    local_header,
    zip_entries,
)

_IN, _OUT = 1 << 16, 1 << 20
_DAMAGED = "is damaged in the archive; hand it in again"


def without_overlaps(entries: list[ZipEntry]) -> list[ZipEntry]:
    """The same entries; those that use bytes of one before them in the file are refused, as only a bomb has them."""
    reached = -1
    overlapping = set()
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < reached:
            overlapping.add(id(entry))
        else:
            reached = entry.offset + LOCAL_SIZE + entry.packed
    return [_with_refusal(entry) if id(entry) in overlapping else entry for entry in entries]


def _with_refusal(entry: ZipEntry) -> ZipEntry:
    return replace(entry, refused="overlaps another member; zip the files anew")


def zip_members(file: BinaryIO, limits: Limits, problem: Callable[[str], None]) -> Iterator[Member]:
    """The members of a zip, at most as many as the limit; of one that is cut off those that are whole.

    Raises:
        HarnessError: it is damaged, and nothing could be found in it.
    """
    directory = find_directory(file)
    found = torn_entries(file, limits.total_bytes) if directory is None else zip_entries(file, directory)
    damage = None if directory else "the zip archive is cut off; hand it in again"
    entries: list[ZipEntry] = []
    try:
        for number, entry in enumerate(found):
            if number == limits.members:
                problem(f"more than {limits.members} files and folders in the zip archive; what follows was left out")
                break
            if not is_dropping(entry.name):
                entries.append(entry)
    except Refused as why:
        damage = str(why)
    if damage:
        if not entries:
            raise HarnessError(damage)
        problem(damage)
    for entry in without_overlaps(entries):
        yield member_of(file, entry, entry.name)


def member_of(file: BinaryIO, entry: ZipEntry, name: str) -> Member:
    """An entry as a member of another name."""
    return Member(name, partial(_unpacked, file, entry), entry.refused, entry.folder, entry.size)


def _unpacked(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    header = local_header(file, entry.offset)
    if header is None:
        raise Refused(_DAMAGED)
    file.seek(header.start)
    crc = size = 0
    pieces = _inflated(file, entry.packed) if entry.method == DEFLATED else _stored(file, entry.packed)
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        yield piece
    if (crc, size) != (entry.crc, entry.size):
        raise Refused(_DAMAGED)


def _stored(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left > 0 and (piece := file.read(min(_OUT, left))):
        left -= len(piece)
        yield piece


def _inflated(file: BinaryIO, left: int) -> Iterator[bytes]:
    """What *left* bytes decompress to; the file stands behind the compressed bytes afterwards."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = b""
    try:
        while not inflate.eof:
            if not packed:
                packed = file.read(min(_IN, left))
                left -= len(packed)
                if not packed:
                    raise Refused(_DAMAGED)
            if piece := inflate.decompress(packed, _OUT):
                yield piece
            packed = inflate.unconsumed_tail
    except zlib.error:
        raise Refused(_DAMAGED) from None
    file.seek(-len(inflate.unused_data), 1)


def torn_entries(file: BinaryIO, most: int) -> Iterator[ZipEntry]:
    """The entries of a zip without its directory, by the local headers, as long as one follows another.

    Args:
        file: the archive.
        most: how many bytes may be decompressed to find where members end that do not say it themselves.
    """
    at = 0
    while header := local_header(file, at):
        entry = header.entry
        at = header.start + entry.packed
        if header.sizes_follow and not entry.refused:
            if entry.method != DEFLATED:  # nothing tells where it ends
                return
            try:
                entry, at = _measured(file, header, most)
            except Refused as why:
                yield replace(entry, refused=str(why))
                return
            most -= entry.size
        yield entry


def _measured(file: BinaryIO, header: LocalHeader, most: int) -> tuple[ZipEntry, int]:
    """The entry of a member whose data descriptor follows it, and where the next begins."""
    file.seek(header.start)
    size = 0
    for piece in _inflated(file, 1 << 40):
        size += len(piece)
        if size > most:
            raise Refused("is too large")
    end = file.tell()
    descriptor = file.read(16)
    signed = descriptor.startswith(b"PK\7\x08")
    crc = int.from_bytes(descriptor[4 * signed : 4 * signed + 4], "little")
    return replace(header.entry, packed=end - header.start, size=size, crc=crc), end + 12 + 4 * signed
