"""A capture file, read: its frames, its TCP segments, and what was damaged."""

from dataclasses import dataclass

from harness.tcp.segments import Segments


@dataclass(frozen=True, slots=True)
class Capture:
    """What a reader found.

    Attributes:
        format: "pcap", "pcapng" or "tcpdump text".
        link_type: the number of the file's (first) link type (tcpdump.org/linktypes.html); -1 where it has none.
        frames: how many frames there are.
        other_frames: how many of them hold no TCP segment that was understood.
        damage: what was wrong with the file, with the offset; None if it is whole. What stands before it was read.
        segments: the TCP segments.
    """

    format: str
    link_type: int
    frames: int
    other_frames: int
    damage: str | None
    segments: Segments
