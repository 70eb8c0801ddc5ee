"""What is known of every conversation so far: what one piece of a capture leaves for the next."""

import numpy as np
from numpy.typing import NDArray

NONE = -1  # no such position, no such number
FAR = 1 << 62  # beyond every position
NOT_SEEN = -2
Ends = NDArray[np.void]  # of ENDS_DTYPE, shape (n, 2): the low end's values and the high end's
LOW, HIGH = 0, 1  # the ends of a 4-tuple: the smaller (address, port), and the other

# One end of a conversation: name, type, and what holds before anything was seen of it.
_END = (
    ("isn", np.int64, NONE),  # its initial sequence number; NONE: its SYN was not seen
    ("base", np.int64, NONE),  # the 32-bit number at its stream's position 0; NONE: nothing tells yet
    ("origin", np.int64, 0),  # the position of its SYN, or the one before its first segment
    ("at", np.int64, 0),  # the position of its last segment
    ("sent", np.int64, 0),  # how far it has sent
    ("data_end", np.int64, -FAR),  # the position after its payload; -FAR: none was seen
    ("acked", np.int64, NONE),  # how far it has acknowledged the other stream
    ("fin_end", np.int64, FAR),  # the position after its FIN; FAR: none was seen
    ("unanswered_syn", np.int64, FAR),  # the position after its SYN, while no ACK of that was seen since it was sent
    ("unanswered_fin", np.int64, FAR),  # likewise its FIN
    ("unanswered_rst", np.bool_, 0),  # whether it sent a RST after the last segment of its peer
    ("ended_by_rst", np.bool_, 0),  # whether its last segment was a RST
    ("went_on", np.bool_, 0),  # whether it sent a segment without SYN
    ("last_ack", np.int64, NONE),  # what its last segment acknowledged
    ("window", np.int64, 0xFFFF),  # the window field of its last segment
    ("window_of_syn", np.bool_, 1),  # whether that was a SYN: its window is not scaled (RFC 7323 §2.2)
    ("scale", np.int16, NOT_SEEN),  # the shift count of its SYN; ABSENT if that has none
    ("spoke", np.bool_, 0),  # whether it sent anything but RSTs
    ("bits", np.uint16, 0),  # all control bits of its segments; of a segment with RST that bit only
    ("data_seen", np.bool_, 0),  # whether it sent a segment with data and none of SYN, FIN, RST
    ("ack_seen", np.bool_, 0),  # likewise without data
    ("gaps", np.bool_, 0),  # whether it ever left a gap: something was lost, or came in another order
    ("incomplete", np.bool_, 0),  # whether what is missing of its stream is followed (harness.tcp.gaps)
    ("repeats", np.int32, 0),  # how many of its data segments repeated what had been sent
    ("closed_windows", np.int32, 0),  # how many of its segments advertised no window before the peer's FIN
    ("fingerprint", np.uint64, 0),  # of all fields of its last segment (harness.tcp.resent)
    ("resent", np.int32, 0),  # how many of its segments carried only what had been seen before
)
# A conversation.
WHOLE_DTYPE = np.dtype(
    [
        ("low", np.uint64),  # the low end's address key << 16 | port
        ("high", np.uint64),  # likewise
        ("first_frame", np.int64),
        ("last_frame", np.int64),
        ("segments", np.int64),
        ("completeness", np.uint8),  # the bits of Wireshark's tcp.completeness, see harness.tcp.tracking
        ("first_by_low", np.bool_),  # whether the low end sent the first segment
    ]
)
# Aligned: numpy's ufunc.at takes ten times as long where a column is not.
ENDS_DTYPE = np.dtype([(name, dtype) for name, dtype, _ in _END], align=True)
_NOTHING = np.array(tuple(initial for _, _, initial in _END), ENDS_DTYPE)


class Known:
    """What is known of every conversation.

    Attributes:
        count: how many there are.
        ends: ENDS_DTYPE, shape (at least count, 2): the low end's values and the high end's.
        whole: WHOLE_DTYPE, shape (at least count,).
    """

    __slots__ = ("count", "ends", "whole")

    def __init__(self) -> None:
        self.count = 0
        self.ends: Ends = np.full((16, 2), _NOTHING, ENDS_DTYPE)
        self.whole: NDArray[np.void] = np.zeros(16, WHOLE_DTYPE)

    def add(self, conversations: int) -> None:
        """Make room for new conversations, of which nothing is known."""
        self.count += conversations
        if self.count > len(self.ends):
            more = np.full((max(self.count, 2 * len(self.ends)) - len(self.ends), 2), _NOTHING, ENDS_DTYPE)
            self.ends = np.concatenate((self.ends, more))
            self.whole = np.concatenate((self.whole, np.zeros(len(more), WHOLE_DTYPE)))
