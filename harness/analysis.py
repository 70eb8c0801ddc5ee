"""`./invoke analyze`: what the conversations of captures are, from any files and of any size."""

import ipaddress
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from harness.captures.capture import Capture
from harness.captures.reading import MAX_BYTES, CapturePieces, read_file, read_many
from harness.cli import NOT_JUDGED, complain, print_styled, width
from harness.errors import HarnessError, one_line
from harness.language import _
from harness.messages import translated
from harness.reports.analysis import Row, Source, as_json, as_text
from harness.tcp.segments import Segments
from harness.tcp.summary import summaries, summaries_of_many
from harness.tcp.tracking import Tracker

_END = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<ipv4>[0-9.]*))(?::(?P<port>[0-9]{1,5}))?|(?P<bare_ipv6>[0-9a-fA-F:.]+)"
)
_SMALL = 1 << 20  # bytes of a file, for which working out many together pays
_AT_ONCE = 64  # files
_FILTER_HELP = "want HOST:PORT, HOST or :PORT, with an IP address (an IPv6 address in brackets: [fe80::1]:22)"


Found = tuple[Source, Iterator[Row]]


class EndFilter:
    """Which conversations are wanted: those with an end of this address, port, or both."""

    def __init__(self, text: str) -> None:
        """Read "HOST:PORT", "HOST" or ":PORT".

        Raises:
            HarnessError: it is none of these.
        """
        found = _END.fullmatch(text)
        host = (found["ipv6"] or found["bare_ipv6"] or found["ipv4"]) if found else None
        port = found["port"] if found else None
        try:
            self._address = ipaddress.ip_address(host) if host else None
        except ValueError:
            raise HarnessError(f"--filter {text}: {_FILTER_HELP}") from None
        self._port = int(port) if port else None
        if not (host or port) or int(port or 0) > 0xFFFF:
            raise HarnessError(f"--filter {text}: {_FILTER_HELP}")

    def keep(self, segments: Segments) -> Segments:
        """The segments from or to that end."""
        wanted = np.zeros(len(segments), np.bool_)
        for address, port in ((segments.src, segments.sport), (segments.dst, segments.dport)):
            here = np.ones(len(segments), np.bool_)
            if self._address is not None:
                here &= address == self._key(segments)
            if self._port is not None:
                here &= port == self._port
            wanted |= here
        return segments.take(np.flatnonzero(wanted))

    def _key(self, segments: Segments) -> int:
        address = self._address
        if isinstance(address, ipaddress.IPv6Address):
            return (1 << 32) + segments.ipv6.index(address.packed) if address.packed in segments.ipv6 else 0
        return int(address or 0)


def _read_ahead(pieces: Iterator[Segments]) -> Iterator[Segments]:
    """The same, the next one being read while the caller works on one: numpy lets two threads run."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = reader.submit(next, pieces, None)
            yield piece


def _summarised(path: Path, wanted: EndFilter | None) -> tuple[Source, Tracker]:
    """The whole capture, piece by piece."""
    pieces, tracker = CapturePieces(), Tracker()
    for segments in _read_ahead(pieces.read(path)):
        kept = wanted.keep(segments) if wanted else segments
        if len(kept):
            tracker.take(kept)
    source = Source(pieces.format, pieces.link_types, pieces.frames, pieces.tcp_segments, pieces.damage)
    return source, tracker


def _source(capture: Capture) -> Source:
    segments = len(capture.segments)
    return Source(capture.format, capture.link_types, capture.frames, segments, capture.damage)


def _with_segments(path: Path, wanted: EndFilter | None) -> Found:
    """The whole capture at once, with each conversation's segments."""
    from harness.tcp.conversation import conversations

    capture = read_file(path)
    segments = wanted.keep(capture.segments) if wanted else capture.segments
    tracker = Tracker()
    found = conversations(segments, tracker)
    return _source(capture), zip(summaries(tracker), found, strict=True)


def _alone(path: Path, wanted: EndFilter | None, *, segments: bool, json: bool) -> Found:
    """One capture of any size; its rows are worked out as they are asked for."""
    if segments:
        return _with_segments(path, wanted)
    source, tracker = _summarised(path, wanted)
    if not json and tracker.known.count == 1 and path.stat().st_size <= MAX_BYTES:
        return _with_segments(path, wanted)
    return source, ((summary, None) for summary in summaries(tracker))


def _together(paths: list[Path], wanted: EndFilter | None) -> Iterator[tuple[Path, Found | HarnessError]]:
    """Small captures, many at once."""
    read: list[Capture | HarnessError] = read_many([(str(path), path.read_bytes()) for path in paths])
    whole = [one for one in read if isinstance(one, Capture)]
    kept = [wanted.keep(one.segments) if wanted else one.segments for one in whole]
    found = iter(zip(whole, summaries_of_many(kept), strict=True))
    for path, one in zip(paths, read, strict=True):
        if isinstance(one, HarnessError):
            yield path, one
        else:
            capture, told = next(found)
            yield path, (_source(capture), ((summary, None) for summary in told))


def _documents(
    paths: list[Path], wanted: EndFilter | None, *, segments: bool, json: bool
) -> Iterator[tuple[Path, Found | HarnessError]]:
    """What is to be printed of each capture, in their order, or why there is nothing."""
    for is_small, some in groupby(paths, lambda path: len(paths) > 1 and not segments and _is_small(path)):
        waiting = list(some)
        if is_small:
            for begin in range(0, len(waiting), _AT_ONCE):
                yield from _together(waiting[begin : begin + _AT_ONCE], wanted)
            continue
        for path in waiting:
            try:
                yield path, _alone(path, wanted, segments=segments, json=json)
            except HarnessError as error:
                yield path, error


def _is_small(path: Path) -> bool:
    try:
        return path.stat().st_size <= _SMALL
    except OSError:
        return False  # who reads it says what is wrong


def analyze(paths: list[Path], *, json: bool, segments: bool, filter_: str | None, absolute: bool) -> int:
    """Print what the conversations of each capture are, a document each; returns the exit status.

    Of several captures one that cannot be read is told of, and the others are analyzed all the same.

    Raises:
        HarnessError: there is one file, and it cannot be read, or is no capture.
    """
    wanted = EndFilter(filter_) if filter_ else None
    status = 0
    for path, found in _documents(paths, wanted, segments=segments, json=json):
        if isinstance(found, HarnessError):
            if len(paths) == 1:
                raise found
            complain(one_line(translated(str(found)), 1000))
            status = NOT_JUDGED
            continue
        source, rows = found
        if json:
            sys.stdout.writelines(as_json(source, rows))
        else:
            title = [(str(path), "bold")] if len(paths) > 1 else []
            print_styled(chain(title, as_text(source, rows, width=width(), absolute=absolute)))
        if source.damage:
            words = _("{file}: {damage}; what stands before it was analyzed")
            complain(words.format(file=path, damage=translated(source.damage)))
    return status
