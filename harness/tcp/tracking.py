"""Follow the conversations of a capture, piece after piece, and keep of each what its summary needs."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import Numbers, numbers
from harness.tcp.arrays import indices, sizes
from harness.tcp.control import Control, control
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.gaps import Gaps, jumps
from harness.tcp.known import Ends, Known
from harness.tcp.resent import Resent
from harness.tcp.segments import Segments, concatenated
from harness.tcp.splitting import Batch, Splitter
from harness.tcp.zeek import Letters, gap_letters, letters

_BARE_SYN = 1
ANY_DATA = 64  # our own bit beside Wireshark's: payload in any segment


def completeness(whole: NDArray[np.void]) -> NDArray[np.uint8]:
    """Wireshark's tcp.completeness of conversations (`known.WHOLE_DTYPE`); a single segment has none, but for a SYN."""
    alone = (whole["segments"] == 1) & (whole["completeness"] & _BARE_SYN == 0)
    found: NDArray[np.uint8] = np.where(alone, 0, whole["completeness"] & ~np.uint8(ANY_DATA)).astype(np.uint8)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A piece of a capture, worked out.

    Attributes:
        batch: its segments, sorted by conversation; g groups.
        numbers: their arithmetic.
        control: its control segments.
        ends: shape (g, 2): what is known of each group's ends after it (harness.tcp.known).
    """

    batch: Batch
    numbers: Numbers
    control: Control
    ends: Ends


@dataclass(frozen=True, slots=True, eq=False)
class Scripts:
    """A piece's control segments, as they are kept.

    Attributes:
        conversation: int64[c].
        codes: uint16[c], see `Control`.
        frame: int64[c].
        time: int64[c], nanoseconds since the epoch.
        mss: int32[c], an option of the SYNs, likewise wscale, sack_permitted, timestamps and fast_open.
    """

    conversation: NDArray[np.int64]
    codes: NDArray[np.uint16]
    frame: NDArray[np.int64]
    time: NDArray[np.int64]
    mss: NDArray[np.int32]
    wscale: NDArray[np.int16]
    sack_permitted: NDArray[np.bool_]
    timestamps: NDArray[np.bool_]
    fast_open: NDArray[np.bool_]


@dataclass(slots=True)
class Tracker:
    """Follows the conversations.

    Attributes:
        splitter: sorts the segments, and keeps what is known of each conversation.
        resent: counts retransmissions.
        gaps: finds content gaps.
        scripts: the control segments so far, piece by piece.
        letters: the letters of all histories so far, likewise; those of content gaps are told after the last piece.
        ipv6: the IPv6 addresses that address keys stand for.
        options_shown: whether the capture holds TCP options.
    """

    splitter: Splitter = field(default_factory=Splitter)
    resent: Resent = field(default_factory=Resent)
    gaps: Gaps = field(default_factory=Gaps)
    scripts: list[Scripts] = field(default_factory=list)
    letters: list[Letters] = field(default_factory=list)
    ipv6: tuple[bytes, ...] = ()
    options_shown: bool = True
    _held: Segments | None = None

    @property
    def known(self) -> Known:
        """What is known of every conversation."""
        return self.splitter.known

    def take_all(self, segments: Segments) -> Piece:
        """Work out a whole capture, of at least one segment."""
        batch, _ = self.splitter.split(segments)
        piece = self._work_out(segments, batch)
        self._tell_gaps()
        return piece

    def take(self, segments: Segments) -> None:
        """Work out the next piece; `finish` is to be called after the last."""
        waited = 0
        if self._held is not None:
            waited, segments = len(self._held), concatenated([self._held, segments])
        batch, held = self.splitter.split(segments, waited=waited, more=True)
        self._held = segments.take(held) if len(held) else None
        if len(batch.rows):
            self._work_out(segments, batch, more=True)

    def finish(self) -> None:
        """Work out what was held back, since nothing follows."""
        if self._held is not None:
            held, self._held = self._held, None
            self.take_all(held)
        self._tell_gaps()
        self.splitter.current.clear()

    def _work_out(self, segments: Segments, batch: Batch, *, more: bool = False) -> Piece:
        before = self.known.ends[batch.conversation]
        ends = before.copy()
        worked_out = numbers(segments, batch, ends)
        script = control(segments, batch, worked_out, before, ends)
        self.letters.append(letters(segments, batch, worked_out, script, before, ends))
        holes = jumps(batch, worked_out, before)
        self.gaps.take(segments, batch, worked_out, before, ends, holes)
        self.resent.take(segments, batch, worked_out, before, ends, holes, more=more)
        self.known.ends[batch.conversation] = ends
        self._keep(segments, batch, worked_out, script)
        self.ipv6, self.options_shown = segments.ipv6, segments.options_shown
        return Piece(batch, worked_out, script, ends)

    def _tell_gaps(self) -> None:
        """Turn the gaps found into letters: what the states were is in the scripts."""
        found, self.gaps.found = self.gaps.found, {}
        if found:
            scripts: dict[int, list[tuple[int, int]]] = {conversation: [] for conversation, _ in found}
            wanted = np.array(list(scripts))
            for part in self.scripts:
                mine = indices(np.isin(part.conversation, wanted))
                columns = (part.conversation[mine], part.frame[mine], part.codes[mine])
                for conversation, frame, code in zip(*(column.tolist() for column in columns), strict=True):
                    scripts[conversation].append((frame, code))
            self.letters.append(gap_letters(found, scripts))

    def _keep(self, segments: Segments, batch: Batch, of: Numbers, script: Control) -> None:
        rows = batch.rows[script.places]
        self.scripts.append(
            Scripts(
                batch.conversation[batch.group[script.places]],
                script.codes,
                segments.frame[rows],
                segments.time[rows],
                segments.mss[rows],
                segments.wscale[rows],
                segments.sack_permitted[rows],
                segments.tsval[rows] >= 0,
                segments.fast_open[rows],
            )
        )
        heads = batch.rows[batch.start]
        tails = batch.rows[np.append(batch.start[1:], len(batch.rows)) - 1]
        now = self.known.whole[batch.conversation]
        new = indices(now["segments"] == 0)
        one = (segments.src[heads] << np.uint64(16)) | segments.sport[heads]
        two = (segments.dst[heads] << np.uint64(16)) | segments.dport[heads]
        now["low"][new], now["high"][new] = np.minimum(one, two)[new], np.maximum(one, two)[new]
        now["first_frame"][new] = segments.frame[heads[new]]
        now["first_by_low"][new] = batch.from_low[batch.start[new]]
        now["last_frame"] = segments.frame[tails]
        now["segments"] += sizes(batch.start, len(batch.rows))
        seen = _completeness(of)
        later = np.ones(len(seen), np.bool_)
        later[batch.start[new]] = False
        seen[later] &= ~np.uint8(_BARE_SYN)  # Wireshark counts it as a conversation's first frame only
        now["completeness"] |= np.bitwise_or.reduceat(seen, batch.start)
        self.known.whole[batch.conversation] = now


def _completeness(of: Numbers) -> NDArray[np.uint8]:
    """What each segment adds to Wireshark's tcp.completeness: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST.

    Payload of a SYN-ACK does not count as data there; a bit of our own counts it.
    """
    opening = of.flags & (SYN | ACK)
    empty = of.length == 0
    seen = (
        opening == SYN,
        opening == (SYN | ACK),
        (opening == ACK) & empty,  # Wireshark counts an empty FIN or RST with ACK too
        ~empty & (opening != (SYN | ACK)),
        of.flags & (FIN | ACK) == (FIN | ACK),
        of.flags & RST != 0,
        ~empty,
    )
    total = np.zeros(len(of.flags), np.uint8)
    for bit, there in enumerate(seen):
        total |= there.view(np.uint8) << np.uint8(bit)
    return total
