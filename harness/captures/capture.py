"""A capture file, read: its frames, its TCP segments, and what was damaged."""

from dataclasses import dataclass

from harness.captures.frames import Frames
from harness.tcp.segments import Segments


@dataclass(frozen=True, slots=True)
class Capture:
    """What a reader found.

    Attributes:
        format: "pcap", "pcapng" or "tcpdump text".
        link_types: the numbers of the file's link types (tcpdump.org/linktypes.html), each once; none of a text.
        frames: how many frames there are.
        other_frames: how many of them hold no TCP segment that was understood.
        damage: what was wrong with the file, with the offset; None if it is whole. What stands before it was read.
        segments: the TCP segments.
        found: where the frames stand in the file's bytes, decompressed; None of a text, which has no frames.
    """

    format: str
    link_types: tuple[int, ...]
    frames: int
    other_frames: int
    damage: str | None
    segments: Segments
    found: Frames | None = None

    @property
    def link_type(self) -> int:
        """The first link type; -1 where there is none."""
        return self.link_types[0] if self.link_types else -1
