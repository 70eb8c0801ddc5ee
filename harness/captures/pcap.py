"""The classic pcap file (pcap-savefile(5)): both byte orders, micro- and nanoseconds."""

import struct
from dataclasses import dataclass, field

import numpy as np

from harness.captures.capture import Capture
from harness.captures.fields import Bools, Ints, Octets, with_spare
from harness.captures.frames import Decoder, Frames
from harness.captures.lockstep import Words, chain
from harness.errors import HarnessError
from harness.tcp.arrays import indices
from harness.tcp.segments import Segments

# Magic number as stored → (byte order, nanoseconds a tick).
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
HEADER = 24
_RECORD = 16
_KEPT, _ON_THE_WIRE = 8, 12  # where in a record's header its lengths stand
LONGEST = 1 << 18  # libpcap's MAXIMUM_SNAPLEN: a longer record is damage, not data
_A_YEAR = 366 * 86400


def is_pcap(data: bytes) -> bool:
    """Whether it begins like a pcap file."""
    return data[:4] in _MAGIC


@dataclass(slots=True)
class PcapScanner:
    """Finds the frames of a pcap file, piece after piece.

    Attributes:
        order: the file's byte order, as struct has it.
        tick: nanoseconds a tick.
        link_types: the link type, one.
        frames: how many were found so far.
        damage: what is wrong with the file, and where.
    """

    order: str
    tick: int
    link_types: list[int]
    frames: int = 0
    damage: str | None = None
    format: str = field(default="pcap", init=False)

    @classmethod
    def of_header(cls, header: bytes, name: str) -> "PcapScanner":
        """Begin with a file's first `HEADER` bytes.

        Raises:
            HarnessError: they are cut off.
        """
        if len(header) < HEADER:
            raise HarnessError(f"{name}: the pcap header is cut off after {len(header)} of {HEADER} bytes")
        order, tick = _MAGIC[header[:4]]
        return cls(order, tick, [struct.unpack_from(order + "I", header, 20)[0] & 0x0FFFFFFF])

    def scan(self, data: Octets, size: int, offset: int, *, final: bool) -> tuple[Frames, int]:
        """Find the whole frames in the next piece.

        Args:
            data: the piece, with `fields.SPARE` more bytes behind it.
            size: how long it is.
            offset: where in the file it begins.
            final: whether the file ends with it.

        Returns:
            The frames, and how much of the piece they take; the rest belongs to the next piece.
        """
        starts = chain(
            data,
            self.order,
            size,
            length_at=_KEPT,
            header=_RECORD,
            longest=LONGEST,
            looks_like_records=self._looks_like_records,
        )
        records = np.ndarray((len(data) - _RECORD,), f"V{_RECORD}", data, strides=(1,))[starts].view(self.order + "u4")
        seconds, fraction, kept, _ = records.reshape(-1, 4).astype(np.int64).T
        time = seconds * 1_000_000_000 + fraction * self.tick
        link = np.full(len(starts), self.link_types[0], np.int64)
        frames = Frames(data, starts + _RECORD, kept, time, link, self.frames + 1)
        self.frames += len(starts)
        used = int(starts[-1] + _RECORD + kept[-1]) if len(starts) else 0
        self._look_for_damage(data, used, size, offset, final=final)
        return frames, used

    def _looks_like_records(self, words: Words, at: Ints) -> Bools:
        """By lengths that agree and a time within a year of the first record's."""
        likely: Bools = words[at] - words[0] + np.uint32(_A_YEAR) < 2 * _A_YEAR  # most that is none fails here
        rows = indices(likely)
        at = at[rows]
        kept, wire = words[at + _KEPT], words[at + _ON_THE_WIRE]
        likely[rows] = (kept <= wire) & (wire <= LONGEST) & (words[at + 4] < 1_000_000_000 // self.tick)
        return likely

    def _look_for_damage(self, data: Octets, at: int, size: int, offset: int, *, final: bool) -> None:
        frame, place = self.frames + 1, f"at byte {offset + at}"
        if at + _RECORD > size:
            if final and at < size:
                self.damage = f"frame {frame} is cut off inside its record header, {place}"
            return
        kept = struct.unpack_from(self.order + "I", data.data, at + _KEPT)[0]
        if kept > LONGEST:
            self.damage = f"frame {frame} claims {kept} bytes, {place}: the file is damaged there"
        elif final:
            self.damage = f"frame {frame} is cut off after {size - at - _RECORD} of {kept} bytes, {place}"


def scan_pcap(data: bytes, name: str) -> tuple[PcapScanner, Frames]:
    """Find the frames of a whole pcap file.

    Raises:
        HarnessError: its header is cut off.
    """
    scanner = PcapScanner.of_header(data[:HEADER], name)
    frames, _ = scanner.scan(with_spare(data[HEADER:]), len(data) - HEADER, HEADER, final=True)
    return scanner, frames


def pcap_capture(scanner: PcapScanner, frames: Frames, segments: Segments) -> Capture:
    """A pcap file whose frames were decoded."""
    others = scanner.frames - len(segments)
    return Capture("pcap", tuple(scanner.link_types), scanner.frames, others, scanner.damage, segments, frames)


def read_pcap(data: bytes, name: str) -> Capture:
    """Read a whole pcap file.

    Raises:
        HarnessError: its header is cut off.
    """
    scanner, frames = scan_pcap(data, name)
    return pcap_capture(scanner, frames, Decoder().decode(frames))
