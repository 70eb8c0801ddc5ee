"""The top level of a bulk download, be it a folder or still zipped."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError
from harness.intake.archives import Piece
from harness.intake.folders import chunks_of, open_regular
from harness.intake.members import amount
from harness.intake.names import Refused, is_dropping, shown
from harness.intake.zip_directory import ZipEntry, find_directory, zip_entries
from harness.intake.zips import member_of, without_overlaps

MOST_ENTRIES = 200_000  # members of a zip; half a kilobyte of memory each
_LOOKED_AT = 1_000  # files of one submission whose times are looked at


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder at the top of a bulk download.

    Attributes:
        name: its name, as it is there.
        path: where it stands, or the zip.
        folder: whether it is a folder.
        entries: its members, each with its path below it ("" for a file), if it stands in a zip; None otherwise.
    """

    name: str
    path: Path
    folder: bool
    entries: tuple[tuple[ZipEntry, str], ...] | None = None

    def piece(self, to: str = "") -> Piece:
        """It as a part of a submission: a file by its path there, a folder by the folder its files stand in, or ""."""
        if self.entries is None:
            return Piece(self.path, to if self.folder else to or self.name)
        if not self.folder:
            return Piece(self.path, entries=tuple((entry, to or self.name) for entry, _ in self.entries))
        return Piece(self.path, entries=tuple((entry, f"{to}/{name}" if to else name) for entry, name in self.entries))

    def time(self) -> float | None:
        """The time of modification of its newest file, in seconds since the epoch; None if there is no file."""
        if self.entries is not None:
            return max((entry.time for entry, _ in self.entries if entry.time and not entry.folder), default=None)
        return max(_times(self.path), default=None)


def _times(path: Path) -> Iterator[float]:
    """The times of a file, or of all files in a folder, to a bound; no link is followed."""
    waiting, left = [os.fspath(path)], _LOOKED_AT
    try:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            yield found.st_mtime
        if not stat.S_ISDIR(found.st_mode):
            return
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False) and not is_dropping(entry.name):
                        yield entry.stat(follow_symlinks=False).st_mtime
    except OSError:  # it is told when the submission is opened
        return


def is_zip(path: Path) -> bool:
    """Whether it is a zip archive.

    Raises:
        HarnessError: it is missing, or cannot be read.
    """
    with open_regular(path) as file:
        return find_directory(file) is not None and (file.seek(0) or file.read(2)) == b"PK"


def folder_entries(path: Path) -> list[Entry]:
    """What stands at the top of a folder; hidden files and droppings are nobody's submission.

    Raises:
        HarnessError: the folder is missing, or cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            return [
                Entry(entry.name, path / entry.name, entry.is_dir(follow_symlinks=False))
                for entry in entries
                if not entry.name.startswith(".") and not is_dropping(entry.name)
            ]
    except OSError as error:
        raise HarnessError(f"{shown(str(path))}: cannot be read: {error.strerror}") from None


def zip_top(path: Path) -> list[Entry]:
    """What stands at the top of a zipped download, whose files stay in it.

    Raises:
        HarnessError: it cannot be read, is damaged, or has too many members.
    """
    with open_regular(path) as file:
        entries = without_overlaps(_all_entries(file, path))
    return _tops(path, ((entry, entry.name.removeprefix("./")) for entry in entries))


def _tops(path: Path, entries: Iterable[tuple[ZipEntry, str]]) -> list[Entry]:
    """What stands at the top of some folder of a zip, given all that is below it."""
    tops: dict[str, list[tuple[ZipEntry, str]]] = {}
    folders: set[str] = set()
    for entry, name in entries:
        top, slash, rest = name.partition("/")
        if not top or top.startswith(".") or is_dropping(name):
            continue
        below = tops.setdefault(top, [])
        if slash:
            folders.add(top)
        if rest or not slash:
            below.append((entry, rest))
    return [Entry(top, path, top in folders, tuple(below)) for top, below in tops.items()]


def _all_entries(file: BinaryIO, path: Path) -> list[ZipEntry]:
    directory = find_directory(file)
    if directory is None:
        raise HarnessError(f"{shown(str(path))}: is no whole zip archive; download it again")
    found: list[ZipEntry] = []
    try:
        for entry in zip_entries(file, directory):
            if len(found) == MOST_ENTRIES:
                raise HarnessError(f"{shown(str(path))}: has more than {MOST_ENTRIES:,} members; unpack it first")
            found.append(entry)
    except Refused as why:
        raise HarnessError(f"{shown(str(path))}: {why}; download it again") from None
    return found


def inside(entry: Entry) -> list[Entry]:
    """What stands in a folder at the top; nothing stands in a file."""
    if not entry.folder:
        return []
    return folder_entries(entry.path) if entry.entries is None else _tops(entry.path, entry.entries)


def bytes_of(entry: Entry, most: int) -> bytes:
    """The bytes of a file at the top.

    Raises:
        HarnessError: it cannot be read, or is larger than *most*.
    """
    data = bytearray()
    with open_regular(entry.path) as file:
        try:
            for chunk in _chunks(entry, file):
                data += chunk
                if len(data) > most:
                    raise HarnessError(f"{shown(entry.name)}: is larger than {amount(most)}")
        except Refused as why:
            raise HarnessError(f"{shown(entry.name)}: {why}") from None
    return bytes(data)


def begin_of(entry: Entry, size: int) -> bytes | None:
    """The first bytes of a file at the top; None if it cannot be read."""
    try:
        with open_regular(entry.path) as file:
            return next(_chunks(entry, file, size), b"")[:size]
    except (HarnessError, Refused):
        return None


def _chunks(entry: Entry, file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    if entry.entries is None:
        return chunks_of(file, size)
    member = member_of(file, entry.entries[0][0], entry.name)
    if member.refused:
        raise Refused(member.refused)
    return member.chunks()
