"""Open one submission: a folder, an archive, or a single file. Nothing is written to disk, nothing is executed."""

import io
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError
from harness.intake.contents import Contents, Limits
from harness.intake.folders import chunks_of, folder_members, is_folder, open_regular
from harness.intake.members import Budget, Member
from harness.intake.names import Refused, safe_path, shown
from harness.intake.tars import BLOCK, is_tar, tar_members
from harness.intake.unpacking import Unpacked, is_packed
from harness.intake.zip_directory import ZipEntry, find_directory
from harness.intake.zips import member_of, zip_members

_ARCHIVE_ENDS = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
# They are zip archives too, but each is one document.
_DOCUMENTS = re.compile(r"\.(docx|xlsx|pptx|od[tsp]|pages|numbers|key|epub|jar)$", re.IGNORECASE)
_FOREIGN = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One file or folder that belongs to a submission.

    Attributes:
        path: where it stands, or the zip that it stands in.
        to: its path within the submission; "" for a folder whose files stand at its top, and for a file of its name.
        entries: its members, each with its path within the submission, if it stands in a zip that is not unpacked;
            None otherwise.
    """

    path: Path
    to: str = ""
    entries: tuple[tuple[ZipEntry, str], ...] | None = None


def open_submission(path: Path, limits: Limits = Limits()) -> Contents:  # noqa: B008 # it is frozen
    """Open a folder, an archive (zip, tar, tar.gz, tar.bz2, tar.xz), or any single file.

    An archive that stands in a folder is opened too, as a folder of its name; one in an archive is not. One folder that
    holds everything is left out of the paths. macOS's and Windows' droppings are left out silently.

    Args:
        path: what was handed in.
        limits: what it may cost.

    Raises:
        HarnessError: nothing at all could be opened.
    """
    return open_pieces((Piece(path),), limits)


def open_bytes(name: str, data: bytes, limits: Limits = Limits()) -> Contents:  # noqa: B008 # it is frozen
    """Open an archive, or any single file, from its bytes; see `open_submission`."""
    budget = Budget(limits)
    return budget.contents(_unwrapped(_opened(_last(name), io.BytesIO(data), budget)))


def open_pieces(pieces: Iterable[Piece], limits: Limits) -> Contents:
    """Open all that belongs to one submission; of several files with one path the first counts.

    Raises:
        HarnessError: nothing at all could be opened.
    """
    budget = Budget(limits)
    files: dict[str, bytes] = {}
    failed: list[str] = []
    opened = 0
    for piece in pieces:
        try:
            _add(files, _open_piece(piece, budget), budget)
            opened += 1
        except HarnessError as error:
            failed.append(str(error))
    if failed and not opened:
        raise HarnessError(failed[0])
    for line in failed:
        budget.problem(line)
    return budget.contents(_unwrapped(files))


def _open_piece(piece: Piece, budget: Budget) -> dict[str, bytes]:
    if piece.entries is not None:
        with open_regular(piece.path) as file:
            return _with_archives_opened(budget.gather(member_of(file, *entry) for entry in piece.entries), budget)
    if is_folder(piece.path):
        with closing(folder_members(piece.path, budget.limits)) as members:
            return _below(piece.to, _with_archives_opened(budget.gather(members), budget))
    with open_regular(piece.path) as file:
        return _opened(_last(piece.to or piece.path.name), file, budget)


def _add(files: dict[str, bytes], more: dict[str, bytes], budget: Budget) -> None:
    for path, data in more.items():
        if files.setdefault(path, data) is not data:
            budget.problem(f"{path}: is there more than once; the first counts")


def _below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": data for path, data in files.items()} if folder else files


def _with_archives_opened(found: dict[str, bytes], budget: Budget) -> dict[str, bytes]:
    """The files of a folder; an archive among them becomes a folder of its name."""
    files: dict[str, bytes] = {}
    for path, data in found.items():
        try:
            _add(files, _opened(path, io.BytesIO(data), budget, data), budget)
        except HarnessError as error:
            budget.problem(str(error))
    return files


def _opened(name: str, file: BinaryIO, budget: Budget, data: bytes | None = None) -> dict[str, bytes]:
    """The files of an archive below its name, or the file itself, whose bytes were read already or are read now."""
    kind = archive_kind(name, file)
    if not kind:
        files = budget.gather([Member(name, partial(chunks_of, file))]) if data is None else {name: data}
        for path in files:
            _note_foreign(path, files[path], budget)
        return files

    def problem(line: str) -> None:
        budget.problem(f"{shown(name)}: {line}")

    if kind == "zip":
        try:
            files = budget.gather(zip_members(file, budget.limits, problem))
        except HarnessError as error:
            raise HarnessError(f"{shown(name)}: {error}") from None
    else:
        stream = Unpacked(file.read, _begin(file), budget.limits.total_bytes + budget.limits.members * 4 * BLOCK)
        files = budget.gather(tar_members(stream, problem))
    for path, inner in files.items():
        if kind_of(path, inner):
            budget.problem(f"{path}: is an archive in an archive, which is not opened; hand in its files themselves")
        _note_foreign(path, inner, budget)
    return _below(_folder_for(name, budget.limits), _unwrapped(files))


def _last(name: str) -> str:
    """The last part of a path, on whatever system it was written."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _folder_for(name: str, limits: Limits) -> str:
    """The folder that an archive's files stand in: its name without its ending, if that is a name."""
    try:
        return safe_path(_ARCHIVE_ENDS.sub("", name), limits.path_length, limits.depth)
    except Refused:
        return "archive"


def _note_foreign(path: str, data: bytes, budget: Budget) -> None:
    for magic, what in _FOREIGN:
        if data.startswith(magic):
            budget.problem(f"{path}: is {what}, which is not opened; hand in a zip")


def archive_kind(name: str, file: BinaryIO) -> str:
    """Whether a file is a "zip", a "tar" (compressed or not), or neither, ""; a document is neither."""
    begin = _begin(file)
    if begin.startswith((b"PK\3\4", b"PK\5\6")):
        return "" if _DOCUMENTS.search(name) else "zip"
    if is_packed(begin):
        first = Unpacked(file.read, begin, 1 << 20).read(BLOCK)
        file.seek(0)
        return "tar" if is_tar(first) else ""
    if is_tar(begin):
        return "tar"
    # A capture of a download may end like a zip too: only the name tells that bytes stand before an archive.
    return "zip" if name.casefold().endswith(".zip") and find_directory(file) and not file.seek(0) else ""


def kind_of(name: str, data: bytes) -> str:
    """As `archive_kind`, of bytes."""
    return archive_kind(name, io.BytesIO(data))


def _begin(file: BinaryIO) -> bytes:
    file.seek(0)
    begin = file.read(BLOCK)
    file.seek(0)
    return begin


def _unwrapped(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files; if one folder holds them all, it is left out of their paths."""
    tops = {path.partition("/")[0] for path in files}
    if len(tops) != 1 or not all("/" in path for path in files):
        return files
    return {path.partition("/")[2]: data for path, data in files.items()}
