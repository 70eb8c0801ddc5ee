"""Folders on disk as members: no link is followed, nothing but regular files is opened."""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError
from harness.intake.contents import Limits
from harness.intake.members import Member
from harness.intake.names import Refused, shown

_PIECE = 1 << 20
# O_NONBLOCK: to open a fifo that nobody writes to must not wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = _FILE | os.O_DIRECTORY


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; no link is followed at its end.

    Raises:
        HarnessError: it is missing, not readable, or anything but a regular file.
    """
    try:
        descriptor = os.open(path, _FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise HarnessError(f"{shown(str(path))}: is a symbolic link, which is not followed") from None
        raise HarnessError(f"{shown(str(path))}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise HarnessError(f"{shown(str(path))}: is no path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HarnessError(f"{shown(str(path))}: is neither a file nor a folder")
    return os.fdopen(descriptor, "rb")


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):  # it is told when it is opened
        return False


def chunks_of(file: BinaryIO, size: int = _PIECE) -> Iterator[bytes]:
    """The rest of an open file, piece by piece."""
    while piece := file.read(size):
        yield piece


def folder_members(path: Path, limits: Limits) -> Generator[Member, None, None]:
    """All that stands in a folder, at any depth, sorted by name within each folder.

    Raises:
        HarnessError: the folder itself cannot be read.
    """
    try:
        descriptor = os.open(path, _FOLDER)
    except OSError as error:
        raise HarnessError(f"{shown(str(path))}: cannot be read: {error.strerror}") from None
    yield from _below(descriptor, "", 0, limits)


def _below(folder: int, prefix: str, depth: int, limits: Limits) -> Generator[Member, None, None]:
    """The members of an open folder, which is closed at the end."""
    try:
        with os.scandir(folder) as entries:
            # The smallest names, not the first: what is left out must not depend on the file system's order.
            names = nsmallest(limits.members + 1, (entry.name for entry in entries))
        for name in names:
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    chunks = partial(_chunks, folder, name)
                    yield Member(prefix + name, chunks, refused=None if stat.S_ISREG(mode) else _kind(mode))
                elif depth >= limits.depth:
                    yield Member(prefix + name, refused=f"it stands in more than {limits.depth} folders")
                else:
                    yield Member(prefix + name, folder=True)
                    inner = os.open(name, _FOLDER, dir_fd=folder)
                    with closing(_below(inner, f"{prefix}{name}/", depth + 1, limits)) as below:
                        yield from below
            except OSError as error:
                yield Member(prefix + name, refused=f"cannot be read: {error.strerror}")
    finally:
        os.close(folder)


def _kind(mode: int) -> str:
    return "is a symbolic link, which is not followed" if stat.S_ISLNK(mode) else "is neither a file nor a folder"


def _chunks(folder: int, name: str) -> Iterator[bytes]:
    try:
        with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was exchanged since it was looked at
                raise Refused("is neither a file nor a folder")
            yield from chunks_of(file)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from None
