"""Sort a submission into its parts: captures, answers, and what a live run recorded."""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.captures.gzipped import Gunzip, is_gzip
from harness.captures.pcap import is_pcap
from harness.captures.pcapng import is_pcapng
from harness.errors import one_line
from harness.intake.archives import kind_of
from harness.intake.contents import Contents
from harness.intake.kinds import BESIDE, CAPTURE

_LOOKED_AT = 1 << 16  # bytes of a text within which a line must be tcpdump's
_ENDS = ("pcap", "cap", "dmp", "pcapng", "txt", "log")  # the better first
_ANSWERS = re.compile(r"answers\.ya?ml")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a submission: its path there and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """A submission, sorted.

    Attributes:
        captures: none, one, or the pair of the handshake and the teardown in this order.
        answers: answers.yaml or answers.yml.
        run: run.json of a live run.
        states: states.json of a live run.
        manifest: manifest.json.
        signature: manifest.json.sig.
        nested: paths of the archives within it, which were not opened.
        problems: one line for each thing that is missing, or was set aside.
    """

    captures: tuple[Part, ...] = ()
    answers: Part | None = None
    run: Part | None = None
    states: Part | None = None
    manifest: Part | None = None
    signature: Part | None = None
    nested: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def parts_of(contents: Contents) -> Parts:
    """Sort a submission's files by their names, in any case and at any depth.

    The capture is `capture` with an ending of captures, or else the pair `handshake` and `teardown`, or else the file
    that looks like a capture. Of several the one in the fewest folders is taken, then .pcap before .pcapng before .txt.
    Other parts are taken from the capture's own folder, if they are there.
    """
    problems: list[str] = []
    captures = _captures(contents.files, problems)
    home = _folder(captures[0]) if captures else ""

    def part(pattern: str | re.Pattern[str]) -> Part | None:
        names = [path for path in contents.files if re.fullmatch(pattern, _name(path))]
        names.sort(key=lambda path: (_folder(path) != home, path.count("/"), path))
        _set_aside(names[1:], names[0] if names else "", problems)
        return Part(names[0], contents.files[names[0]]) if names else None

    return Parts(
        captures=tuple(Part(path, contents.files[path]) for path in captures),
        answers=part(_ANSWERS),
        run=part(r"run\.json"),
        states=part(r"states\.json"),
        manifest=part(r"manifest\.json"),
        signature=part(r"manifest\.json\.sig"),
        nested=tuple(sorted(path for path, data in contents.files.items() if kind_of(path, data))),
        problems=tuple(problems),
    )


def _name(path: str) -> str:
    return path.rpartition("/")[2].casefold()


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _captures(files: dict[str, bytes], problems: list[str]) -> list[str]:
    """The paths of the captures, best first, with a line for those that are set aside."""
    named: dict[str, list[str]] = {"capture": [], "handshake": [], "teardown": []}
    for path in files:
        found = CAPTURE.fullmatch(_name(path))
        if found and found["stem"] in named:
            named[found["stem"]].append(path)
    for paths in named.values():
        paths.sort(key=_rank)
    # A text of that name may be notes: then it is no capture as long as any other file is one.
    looking = [path for path in files if _looks(path, files[path])]
    if chosen := _first(named["capture"], looking):
        taken = [chosen]
    elif named["handshake"] and named["teardown"]:
        taken = [named["handshake"][0], named["teardown"][0]]
    elif looking:
        taken = [min(looking, key=lambda path: (_kind(files[path]), *_rank(path)))]
    else:
        problems.append("no capture was found; name it capture.pcap")
        return []
    others = {path for paths in named.values() for path in paths} | set(looking)
    _set_aside(
        sorted((path for path in others if path not in taken and _name(path) not in BESIDE), key=_rank),
        " and ".join(taken),
        problems,
    )
    return taken


def _first(paths: list[str], looking: list[str]) -> str | None:
    """The best of these paths: one that looks like a capture, or is no text, or a text if nothing looks like one."""
    for path in paths:
        if path in looking:
            return path
    for path in paths:
        if _ending(path) not in ("txt", "log") or not looking:
            return path
    return None


def _ending(path: str) -> str:
    return _name(path).removesuffix(".gz").rpartition(".")[2]


def _rank(path: str) -> tuple[int, int, str]:
    """Fewest folders first, then the better ending, then by name."""
    ending = _ending(path)
    return path.count("/"), _ENDS.index(ending) if ending in _ENDS else len(_ENDS), path


def _begin(data: bytes, size: int) -> bytes:
    """The first bytes of a file, decompressed if it is gzip's."""
    if not is_gzip(data):
        return data[:size]
    stream, out = Gunzip(io.BytesIO(data).read), b""
    while len(out) < size and (piece := stream.read(size - len(out))):
        out += piece
    return out


def _kind(data: bytes) -> int:
    """0 for pcap, 1 for pcapng, 2 for anything else."""
    begin = _begin(data, 4)
    return 0 if is_pcap(begin) else 1 if is_pcapng(begin) else 2


def _looks(path: str, data: bytes) -> bool:
    """Whether a file looks like a capture: by its first bytes, or as a text with a line of tcpdump's."""
    if _name(path).endswith((".json", ".yaml", ".yml")):
        return False
    if _kind(data) < 2:
        return True
    begin = _begin(data, _LOOKED_AT)
    if b"\0" in begin:
        return False
    from harness.captures.text import is_listing  # its patterns take longer than all else here

    return is_listing(begin)


def _set_aside(names: Iterable[str], for_what: str, problems: list[str]) -> None:
    if names := list(names):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        problems.append(one_line(f"{', '.join(names[:_SHOWN])}{more}: set aside; {for_what} was taken"))
