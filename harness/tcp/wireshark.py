"""Wireshark's notes on the segments of a conversation: its `tcp.analysis.*`, in its names and in its sense.

A note is a guess about the network from one place on it: it compares a segment with what was captured before it, from
both ends. The rules are those of Wireshark 4.0 with its default preferences, read off its TCP dissector and held
against tshark 4.0.17 frame by frame; where they are odd, so are these. Of what each end has sent they keep

    next      the number after the highest one sent: where it goes on (RFC 9293 §3.3.1, SND.NXT)
    whole     the same, but it stays where a hole begins
    ack       what it acknowledged last (its peer's SND.UNA)
    window    what it offered last, as in the header

Where a segment stands ("control" is SYN, FIN or RST):

    zero_window_probe        one byte at `next` while the peer's window is 0 (RFC 9293 §3.8.6.1); then none of the notes
                             from here to duplicate_ack
    zero_window              window 0, no control
    lost_segment             begins after `next`, no RST: what comes between was not captured
    keep_alive               one byte or none, at `next` - 1, no control (RFC 9293 §3.8.4)
    window_full              data, no control, that ends where the peer's window ends, if its scale is known (RFC 7323)

An empty segment, no control, that stands at `next` and repeats its sender's `ack`:

    window_update            the window is another one, and not 0
    keep_alive_ack           the same window, not 0, and the peer's last segment was a keep_alive
    zero_window_probe_ack    the window is still 0, and the peer's last segment was a zero_window_probe
    duplicate_ack            the same window, not 0, otherwise (RFC 5681 §2, but nothing need be outstanding)

What a segment acknowledges:

    ack_lost_segment         more than the peer's `whole`: data that was not captured; not again for the same data

Data, SYN or FIN, no keep_alive, that begins before `next` (two bytes or more from `next` - 1 on are not meant: they
follow up a probe). The first that fits:

    spurious_retransmission  data that ends at the peer's `ack` or before, wherever it begins
    fast_retransmission      begins at the peer's `ack`, after two duplicate_acks, the last less than 20 ms ago
    out_of_order             ends elsewhere than at `next`, and the segment that made `next` is younger than the
                             handshake took (RTT), or than 3 ms if that is not known
    retransmission           all others; the first two are noted as retransmission as well

Of the connection:

    reused_ports             a SYN with a new number between the same addresses and ports; a SYN-ACK with a new number
"""

from functools import cache
from heapq import heappop, heappush

import numpy as np

from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import Segments
from harness.tcp.splitting import Rows

NAMES = (
    "retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "lost_segment",
    "ack_lost_segment", "duplicate_ack", "keep_alive", "keep_alive_ack", "zero_window", "zero_window_probe",
    "zero_window_probe_ack", "window_update", "window_full", "reused_ports",
)  # fmt: skip

# A bit for each name, in that order: a segment's notes are one number until they are told.
(
    _RETRANSMISSION, _FAST_RETRANSMISSION, _SPURIOUS_RETRANSMISSION, _OUT_OF_ORDER, _LOST_SEGMENT,
    _ACK_LOST_SEGMENT, _DUPLICATE_ACK, _KEEP_ALIVE, _KEEP_ALIVE_ACK, _ZERO_WINDOW, _ZERO_WINDOW_PROBE,
    _ZERO_WINDOW_PROBE_ACK, _WINDOW_UPDATE, _WINDOW_FULL, _REUSED_PORTS,
) = (1 << place for place in range(len(NAMES)))  # fmt: skip

_Row = tuple[int, int, int, int, int, int]  # time, seq, ack, flags, window, length

_32_BITS = 0xFFFFFFFF
_HALF = 1 << 31
_CONTROL = SYN | FIN | RST
_FAST = 20_000_000  # ns between a duplicate ACK and what it asked for
_REORDERED = 3_000_000  # ns, for a round trip that is not known
_64_BITS = 0xFFFFFFFFFFFFFFFF  # a time is unsigned in Wireshark: a clock set back has gone very far ahead
_SCALE_UNKNOWN, _NOT_SCALED = -1, -2
_LARGEST_SCALE = 14  # RFC 7323 §2.3
_MUTED = _32_BITS  # Wireshark's -1 in an unsigned count: the next duplicate is the first, yet it is two or more
_REMEMBERED = 10_000  # how many unacknowledged segments of an end Wireshark remembers


def _after(one: int, other: int) -> bool:
    """Whether `one` comes after `other`, the short way round (RFC 9293 §3.4)."""
    return 0 < (one - other) & _32_BITS <= _HALF


class _Memory:
    """The segments of one end that Wireshark remembers: those with data, SYN or FIN that are not acknowledged yet.

    It matters in one case: where the memory is full, a SYN or FIN takes no number.
    """

    __slots__ = ("_ends", "_last")

    def __init__(self) -> None:
        self._ends: list[int] = []  # a heap of numbers that do not wrap
        self._last = 0

    def _unwrapped(self, number: int) -> int:
        return self._last + ((number - self._last + _HALF) & _32_BITS) - _HALF

    def add(self, end: int) -> bool:
        """Remember a segment by the number after it, unless the memory is full; returns whether it is not."""
        if len(self._ends) >= _REMEMBERED:
            return False
        self._last = self._unwrapped(end)
        heappush(self._ends, self._last)
        return True

    def drop(self, ack: int) -> None:
        """Forget what is acknowledged."""
        acknowledged = self._unwrapped(ack)
        while self._ends and self._ends[0] <= acknowledged:
            heappop(self._ends)


class _End:
    """What one end has sent, as above; 0 is "nothing yet", though it is a number like others on the wire.

    Attributes:
        base: the number of its SYN, or the one before its first; None while nothing says it.
        next_time: when `next` was sent, in nanoseconds.
        ack_time: when its last segment was sent.
        scale: its window scale option (RFC 7323 §2.2), or _SCALE_UNKNOWN, or _NOT_SCALED.
        opening: whether its last word is a SYN: the window in it is not scaled.
        duplicates: how many duplicate ACKs in a row it has sent, or _MUTED.
        notes: those on its last segment.
        memory: None if it cannot get full.
    """

    __slots__ = (
        "ack", "ack_time", "base", "duplicates", "memory", "next", "next_time", "notes", "opening", "scale", "whole",
        "window",
    )  # fmt: skip

    def __init__(self, memory: _Memory | None) -> None:
        self.base: int | None = None
        self.next = self.next_time = self.whole = 0
        self.ack = self.ack_time = 0
        self.window = _32_BITS
        self.scale = _SCALE_UNKNOWN
        self.opening = False
        self.duplicates = 0
        self.notes = 0
        self.memory = memory


class _Connection:
    """Both ends.

    Attributes:
        directions: (sender, its peer) of what the responder sends, and of what the initiator sends.
        syn_time: when the last SYN was sent, or 0.
        handshake_time: nanoseconds from it to the first ACK without a SYN, or 0.
    """

    __slots__ = ("directions", "handshake_time", "syn_time")

    def __init__(self, crowded: tuple[bool, bool]) -> None:
        responder, initiator = (_End(_Memory() if full else None) for full in crowded)
        self.directions = (responder, initiator), (initiator, responder)
        self.syn_time = self.handshake_time = 0


@cache
def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(NAMES) if bits >> place & 1)


def _standing(me: _End, peer: _End, row: _Row) -> int:
    """Notes on where a segment stands, and on what an empty one repeats."""
    _, seq, ack, flags, window, length = row
    expected = seq == me.next
    if length == 1 and expected and not peer.window:
        return _ZERO_WINDOW_PROBE
    control = flags & _CONTROL
    found = 0 if window or control else _ZERO_WINDOW
    if not expected and me.next and _after(seq, me.next) and not flags & RST:
        found |= _LOST_SEGMENT
    if control:
        return found
    if length <= 1 and (seq + 1) & _32_BITS == me.next:
        found |= _KEEP_ALIVE
    if length:
        if peer.scale != _SCALE_UNKNOWN:
            scale = 0 if peer.opening or peer.scale == _NOT_SCALED else peer.scale
            if not (peer.ack + (peer.window << scale) - seq - length) & _32_BITS:
                found |= _WINDOW_FULL
        return found
    if expected and ack == me.ack:
        found |= _repeating(me, peer, window)
    return found


def _repeating(me: _End, peer: _End, window: int) -> int:
    """The note on an empty segment that repeats all but perhaps the window."""
    if window != me.window:
        return _WINDOW_UPDATE if window else 0
    if not window:
        return _ZERO_WINDOW_PROBE_ACK if peer.notes & _ZERO_WINDOW_PROBE else 0
    if peer.notes & _KEEP_ALIVE:
        return _KEEP_ALIVE_ACK
    me.duplicates = 1 if me.duplicates == _MUTED else me.duplicates + 1
    return _DUPLICATE_ACK


def _unseen(peer: _End) -> int:
    """The note on an ACK of more than the peer's `whole`."""
    if _after(peer.next, peer.whole):
        peer.whole = peer.next
        return _ACK_LOST_SEGMENT
    # Nothing that was captured reaches so far, and `whole` stays. The peer's count of duplicates serves as a sign that
    # this was noted: it begins anew with the peer's next new `ack`.
    noted = 0 if peer.duplicates else _ACK_LOST_SEGMENT
    peer.duplicates = _MUTED
    return noted


def _again(me: _End, peer: _End, row: _Row, handshake_time: int) -> int:
    """The note on data, SYN or FIN that was sent before, or overtaken."""
    time, seq, _, flags, _, length = row
    if length and peer.ack and (peer.ack - seq - length) & _32_BITS <= _HALF:
        return _SPURIOUS_RETRANSMISSION | _RETRANSMISSION
    if not me.next or not _after(me.next, seq) or (length > 1 and (seq + 1) & _32_BITS == me.next):
        return 0
    if peer.duplicates >= 2 and seq == peer.ack and (time - peer.ack_time) & _64_BITS < _FAST:
        return _FAST_RETRANSMISSION | _RETRANSMISSION
    end = seq + length + (1 if flags & (SYN | FIN) else 0)
    soon = (time - me.next_time) & _64_BITS < (handshake_time or _REORDERED) & _64_BITS
    return _OUT_OF_ORDER if soon and (end - me.next) & _32_BITS else _RETRANSMISSION


def _advance(me: _End, row: _Row, found: int) -> None:
    """Take a segment into what its sender has sent."""
    time, seq, ack, flags, window, length = row
    end = seq + length + (1 if flags & (SYN | FIN) else 0)
    if me.memory is not None and end != seq and not me.memory.add(end):
        end = seq + length
    if not found & _ZERO_WINDOW_PROBE:
        if not me.next or _after(end, me.next):
            me.next = end & _32_BITS
            me.next_time = time
        if seq == me.whole or not me.whole:
            me.whole = me.next
    me.window = window
    me.ack = ack
    me.ack_time = time
    me.notes = found


def _scaling(me: _End, peer: _End, flags: int) -> None:
    """What a SYN or SYN-ACK decides about window scaling: it is used if both offer it (RFC 7323 §2.2)."""
    if me.scale == _SCALE_UNKNOWN:
        me.scale = peer.scale = _NOT_SCALED
    elif flags & ACK and peer.scale == _NOT_SCALED:
        me.scale = _NOT_SCALED


def _crowded(segments: Segments, conversation: Rows) -> tuple[bool, bool]:
    """Whether the responder's, and the initiator's, segments could fill a memory."""
    rows, forward = conversation.rows, conversation.forward
    remembered = (segments.length[rows] > 0) | (segments.flags[rows] & (SYN | FIN) != 0)
    counts = (np.count_nonzero(remembered & own) for own in (~forward, forward))
    responder, initiator = (bool(count > _REMEMBERED) for count in counts)
    return responder, initiator


def notes(segments: Segments, conversation: Rows, *, reused_ports: bool = False) -> list[tuple[str, ...]]:
    """Each segment's notes, some of `NAMES` and in that order; one tuple for each of `conversation.rows`.

    Args:
        segments: the capture's columns.
        conversation: which rows; a SYN with a new number among them begins anew, as in Wireshark.
        reused_ports: whether the capture has an earlier conversation of the same addresses and ports: then the first
            SYN is noted so.
    """
    rows = conversation.rows
    fields = (segments.time, segments.seq, segments.ack, segments.flags, segments.window, segments.length)
    columns = [column[rows].tolist() for column in fields]
    scales = segments.wscale[rows].tolist()
    crowded = _crowded(segments, conversation)
    connection = _Connection(crowded)
    told: list[tuple[str, ...]] = []
    for forward, row, scale in zip(conversation.forward.tolist(), zip(*columns, strict=True), scales, strict=True):
        time, seq, ack, flags, _, length = row
        me, peer = connection.directions[forward]
        found = 0
        if flags & SYN:
            renewed = me.base is not None and seq != me.base
            if renewed and not flags & ACK:
                connection = _Connection(crowded)
                me, peer = connection.directions[forward]
            elif me.base is not None and not flags & ACK:
                me.next = me.whole  # a RST may have set it to anything
            found = _REUSED_PORTS if renewed or reused_ports else 0
            reused_ports = False
            me.base = seq
        elif me.base is None:
            me.base = (seq - 1) & _32_BITS
        if peer.base is None and flags & ACK:
            peer.base = (ack - 1) & _32_BITS

        found |= _standing(me, peer, row)
        if ack != me.ack:
            me.duplicates = 0
        if flags & ACK and peer.whole and _after(ack, peer.whole):
            found |= _unseen(peer)
        if (length or flags & (SYN | FIN)) and not found & _KEEP_ALIVE:
            found |= _again(me, peer, row, connection.handshake_time)
        told.append(_names(found) if found else ())

        _advance(me, row, found)
        if peer.memory is not None:
            peer.memory.drop(ack)
        if scale >= 0:
            me.scale = min(scale, _LARGEST_SCALE)
        if flags & SYN:
            if segments.options_shown:
                _scaling(me, peer, flags)
            me.opening = True
            if not flags & ACK:
                connection.syn_time = time
        elif flags & ACK:
            me.opening = False
            if connection.syn_time and not connection.handshake_time:
                connection.handshake_time = time - connection.syn_time
    return told
