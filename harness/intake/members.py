"""Members of an archive or folder, and the budget within which they are read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from harness.errors import one_line
from harness.intake.contents import PROBLEM_LINES, Contents, Limits
from harness.intake.names import Refused, is_dropping, safe_path, shown

_MOST_LINES = 5_000  # kept until they are sorted


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive or folder, as it is met.

    Attributes:
        name: as the archive has it.
        chunks: gives its bytes piece by piece; raises `Refused` when they are damaged.
        refused: why it is not read, if it is not.
        folder: whether it is a folder, of which nothing is kept.
        size: how many bytes it claims; None if it does not. It is believed only where it is too large.
    """

    name: str
    chunks: Callable[[], Iterator[bytes]] = lambda: iter(())
    refused: str | None = None
    folder: bool = False
    size: int | None = None


class Budget:
    """What opening one submission has cost so far, and what was wrong with it.

    Attributes:
        limits: the bounds.
        spent: whether no more is to be read.
    """

    def __init__(self, limits: Limits) -> None:
        """Begin with nothing spent."""
        self.limits = limits
        self.spent = False
        self._members = 0
        self._bytes = 0
        self._lines: list[str] = []
        self._more = 0

    def problem(self, line: str) -> None:
        """Note one line about what was left out."""
        if len(self._lines) < _MOST_LINES:
            self._lines.append(one_line(line))
        else:
            self._more += 1

    def gather(self, members: Iterable[Member]) -> dict[str, bytes]:
        """Read members while the budget lasts; of several with one path the first counts."""
        files: dict[str, bytes] = {}
        for member in members:
            self._members += 1
            if self._members > self.limits.members:
                self._stop(f"more than {self.limits.members} files and folders")
            if self.spent:
                break
            if is_dropping(member.name):
                continue
            try:
                path = safe_path(member.name, self.limits.path_length, self.limits.depth)
                if member.folder:
                    continue
                if member.refused:
                    raise Refused(member.refused)  # noqa: TRY301 # one place makes the line
                if path in files:
                    raise Refused("is there more than once; the first counts")  # noqa: TRY301
                data = self._read(member)
            except Refused as why:
                self.problem(f"{shown(member.name)}: {why}")
                continue
            files[path] = data
        return files

    def _read(self, member: Member) -> bytes:
        most = self.limits.file_bytes
        too_large = Refused(f"is larger than {amount(most)}; cut the capture first: tcpdump -r FILE -w PART FILTER")
        if member.size is not None and member.size > most:
            raise too_large
        out = bytearray()
        for chunk in member.chunks():
            self._bytes += len(chunk)
            if self._bytes > self.limits.total_bytes:
                self._stop(f"more than {amount(self.limits.total_bytes)} in all")
                raise Refused("was left out with all that follows")
            if len(out) + len(chunk) > most:
                raise too_large
            out += chunk
        return bytes(out)

    def _stop(self, why: str) -> None:
        if not self.spent:
            self.spent = True
            self.problem(f"{why}; what follows was left out")

    def contents(self, files: dict[str, bytes]) -> Contents:
        """The files with what was wrong, sorted, so that it is the same in whatever order an archive has them."""
        if not files:
            self.problem("no file was handed in" if not self._lines else "no file is left")
        lines = sorted(self._lines)
        more = len(lines) - PROBLEM_LINES + self._more
        if more > 0:
            lines[PROBLEM_LINES:] = [f"… and {more} more"]
        return Contents(files, tuple(lines))


def amount(size: int) -> str:
    """A limit as it stands in a line."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"
