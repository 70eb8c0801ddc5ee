"""Read a capture file, whatever wrote it: pcap, pcapng, gzip of either, or tcpdump's text."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.captures.capture import Capture
from harness.captures.fields import SPARE
from harness.captures.frames import Decoder, Frames
from harness.captures.gzipped import Gunzip, gunzip, is_gzip
from harness.captures.packets import LINK_HEADERS
from harness.captures.pcap import HEADER, PcapScanner, is_pcap, pcap_capture, read_pcap, scan_pcap
from harness.captures.pcapng import LONGEST_BLOCK, PcapngScanner, is_pcapng, read_pcapng
from harness.errors import HarnessError
from harness.tcp.segments import Segments, concatenated

MAX_BYTES = 1 << 30
PIECE = 16 << 20  # bytes of file read at a time: they stay in the processor's cache until they are decoded
_ENOUGH = 1 << 17  # segments handed out at a time, at least

# What tells a format by its first bytes, and what reads it. A listing has no mark of its own: it is asked for last.
_READERS = ((is_pcap, read_pcap), (is_pcapng, read_pcapng))


def read_capture(data: bytes, name: str) -> Capture:
    """Read a capture from the bytes of its file; *name* is for messages.

    Raises:
        HarnessError: it is empty, not a capture, or too large when decompressed.
    """
    if not data:
        raise _empty(name)
    damage: str | None = None
    if is_gzip(data):
        data, damage = gunzip(data, name, MAX_BYTES)
    for recognises, read in _READERS:
        if recognises(data):
            capture = read(data, name)
            return replace(capture, damage=damage) if damage else capture
    from harness.captures.text import is_listing, read_listing  # its patterns take longer than to read a small file

    if is_listing(data):
        return replace(read_listing(data, name), damage=damage) if damage else read_listing(data, name)
    raise HarnessError(
        f"{name}: not a pcap file (it begins with {data[:4].hex(' ')}), nor pcapng or tcpdump's text; "
        "write it with tcpdump -w"
    )


def read_many(files: Sequence[tuple[str, bytes]]) -> list[Capture | HarnessError]:
    """Read many small captures, each given by its name and bytes; where one cannot be read, the error stands.

    As `read_capture` does one by one; but the frames of all pcap files are decoded at once, which costs a third.
    """
    found: list[Capture | HarnessError | None] = [None] * len(files)
    scanned: list[tuple[int, PcapScanner, Frames]] = []
    for place, (name, data) in enumerate(files):
        try:
            if is_pcap(data):
                scanner, frames = scan_pcap(data, name)
                scanned.append((place, scanner, frames))
            else:
                found[place] = read_capture(data, name)
        except HarnessError as error:
            found[place] = HarnessError(str(error))  # a new one: that one keeps this frame, and all that is in it
    if scanned:
        decoded = Decoder().decode_alike([frames for _, _, frames in scanned])
        for (place, scanner, frames), segments in zip(scanned, decoded, strict=True):
            found[place] = pcap_capture(scanner, frames, Decoder().decode(frames) if segments is None else segments)
    return [one for one in found if one is not None]


def _empty(name: str) -> HarnessError:
    return HarnessError(f"{name}: the capture file is empty; was tcpdump started with -w and stopped in order?")


def read_file(path: Path) -> Capture:
    """Read a whole capture file into memory.

    Raises:
        HarnessError: one line: no such file, empty, not a capture, or larger than `MAX_BYTES`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise HarnessError(
                f"{path}: larger than {MAX_BYTES >> 20} MiB; cut it first: tcpdump -r FILE -w PART FILTER"
            )
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot read the capture: {error.strerror}") from None
    return read_capture(data, str(path))


def load_capture(path: Path) -> Capture:
    """Read a whole, undamaged capture that holds TCP, to be judged.

    Raises:
        HarnessError: one line: no such file, empty, not a capture, damaged, or without TCP.
    """
    capture = read_file(path)
    if capture.damage:
        raise HarnessError(f"{path}: {capture.damage}; fetch the file again, or stop tcpdump in order")
    if not len(capture.segments):
        raise HarnessError(no_tcp(str(path), capture))
    return capture


def no_tcp(name: str, capture: Capture) -> str:
    """What to say of a capture without TCP."""
    return (
        f"{name}: no TCP segment in its {capture.frames} frames{_of_links(capture)}; "
        "capture with the filter 'tcp port 22'"
    )


def _of_links(capture: Capture) -> str:
    """Which link types, if they may be the reason that nothing was found."""
    unknown = [str(link) for link in capture.link_types if link not in LINK_HEADERS]
    return f" of link type {', '.join(unknown)}" if unknown else ""


@dataclass(slots=True)
class CapturePieces:
    """A capture file of any size, read piece by piece; what it says of itself is whole when its pieces are.

    Attributes:
        format: see `Capture`, likewise link_types, frames and damage.
        tcp_segments: how many TCP segments there were.
    """

    format: str = ""
    link_types: tuple[int, ...] = ()
    frames: int = 0
    tcp_segments: int = 0
    damage: str | None = None
    _file: io.FileIO | None = field(default=None, repr=False)

    def read(self, path: Path) -> Iterator[Segments]:
        """Its segments, piece by piece; a piece's payload is gone when the next one is asked for.

        Raises:
            HarnessError: one line: no such file, empty, not a capture.
        """
        try:
            with path.open("rb", buffering=0) as file:
                yield from self._pieces(file, path)
        except OSError as error:
            raise HarnessError(f"{path}: cannot read the capture: {error.strerror}") from None

    def _pieces(self, file: io.FileIO, path: Path) -> Iterator[Segments]:
        begin = file.read(4)
        file.seek(0)
        stream: Gunzip | None = None
        read: Callable[[int], bytes] = file.read
        if is_gzip(begin):
            stream = Gunzip(file.read)
            read = stream.read
            begin = read(4)
        head = begin if stream else b""
        if is_pcap(begin):
            while len(head) < HEADER and (more := read(HEADER - len(head))):
                head += more
            yield from self._scan(PcapScanner.of_header(head, str(path)), _reads_into(file, stream), b"", HEADER)
        elif is_pcapng(begin):
            yield from self._scan(PcapngScanner(str(path)), _reads_into(file, stream), head, 0)
        else:
            capture = read_file(path)
            self.format, self.link_types = capture.format, capture.link_types
            self.frames, self.damage = capture.frames, capture.damage
            self.tcp_segments = len(capture.segments)
            if len(capture.segments):
                yield capture.segments
        if stream is not None and stream.damage:
            self.damage = stream.damage

    def _scan(
        self,
        scanner: PcapScanner | PcapngScanner,
        read_into: Callable[[memoryview], int],
        begin: bytes,
        offset: int,
    ) -> Iterator[Segments]:
        decoder = Decoder()
        buffer = np.empty(PIECE + LONGEST_BLOCK + SPARE, np.uint8)
        view = buffer.data
        view[: len(begin)] = begin
        held, final = len(begin), False
        waiting: list[Segments] = []
        while not final and scanner.damage is None:
            want = max(PIECE, held + 1)
            while held < want and not final:
                got = read_into(view[held : PIECE + LONGEST_BLOCK])
                held += got
                final = not got
            frames, used = scanner.scan(buffer, held, offset, final=final)
            segments = decoder.decode(frames)
            self.format, self.link_types = scanner.format, tuple(scanner.link_types)
            self.frames, self.damage = scanner.frames, scanner.damage
            self.tcp_segments += len(segments)
            waiting.append(segments)
            if final or scanner.damage or sum(map(len, waiting)) >= _ENOUGH:
                if together := concatenated(waiting):
                    yield together
                waiting = []
            held -= used
            offset += used
            buffer[:held] = buffer[used : used + held].copy()


def _reads_into(file: io.FileIO, stream: Gunzip | None) -> Callable[[memoryview], int]:
    """Fill a buffer from the file, or from what it decompresses to; 0 at the end."""
    if stream is None:
        return lambda view: file.readinto(view) or 0

    def decompress(view: memoryview) -> int:
        piece = stream.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    return decompress
