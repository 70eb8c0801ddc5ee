"""`./invoke analyze`: what a capture's conversations are, from any file and of any size."""

import ipaddress
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from harness.captures.reading import MAX_BYTES, CapturePieces, read_file
from harness.cli import complain, print_styled, width
from harness.errors import HarnessError
from harness.reports.analysis import Row, Source, as_json, as_text
from harness.tcp.segments import Segments
from harness.tcp.summary import summaries
from harness.tcp.tracking import Tracker

_END = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<ipv4>[0-9.]*))(?::(?P<port>[0-9]{1,5}))?|(?P<bare_ipv6>[0-9a-fA-F:.]+)"
)
_FILTER_HELP = "want HOST:PORT, HOST or :PORT, with an IP address (an IPv6 address in brackets: [fe80::1]:22)"


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


def _with_segments(path: Path, wanted: EndFilter | None) -> tuple[Source, Iterator[Row]]:
    """The whole capture at once, with each conversation's segments."""
    from harness.tcp.conversation import conversations

    capture = read_file(path)
    segments = wanted.keep(capture.segments) if wanted else capture.segments
    tracker = Tracker()
    found = conversations(segments, tracker)
    source = Source(capture.format, capture.link_types, capture.frames, len(capture.segments), capture.damage)
    return source, zip(summaries(tracker), found, strict=True)


def analyze(path: Path, *, json: bool, segments: bool, filter_: str | None, absolute: bool) -> int:
    """Print what a capture's conversations are; returns the exit status.

    Raises:
        HarnessError: the file cannot be read, or is no capture.
    """
    wanted = EndFilter(filter_) if filter_ else None
    if not segments:
        source, tracker = _summarised(path, wanted)
        rows: Iterator[Row] = ((summary, None) for summary in summaries(tracker))
        if not json and tracker.known.count == 1 and path.stat().st_size <= MAX_BYTES:
            source, rows = _with_segments(path, wanted)
    else:
        source, rows = _with_segments(path, wanted)
    if json:
        sys.stdout.writelines(as_json(source, rows))
    else:
        print_styled(as_text(source, rows, width=width(), absolute=absolute))
    if source.damage:
        complain(f"{path}: {source.damage}; what stands before it was analyzed")
    return 0
