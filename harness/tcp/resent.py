"""Count retransmissions: segments that carry only what had been seen before.

A segment whose bytes all lie below what its sender had reached is one, unless it fills a gap: what was never seen
before is new to the capture, be it late (reordered) or the repetition of something lost on its way here. Nor is it one
if the frame was merely captured twice: all fields are those of the sender's segment before it, the IP packet's
identification (RFC 6864) among them.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import Numbers
from harness.tcp.arrays import indices
from harness.tcp.flags import RST
from harness.tcp.known import NONE, Ends
from harness.tcp.segments import Segments
from harness.tcp.splitting import Batch

_Gaps = list[tuple[int, int]]
_FIELDS = ("ip_id", "seq", "ack", "flags", "window", "length", "tsval", "tsecr")
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True)
class Resent:
    """Counts, piece after piece.

    Attributes:
        gaps: (conversation, end) → what it left out so far, as (from, to) positions; few have any.
    """

    gaps: dict[tuple[int, int], _Gaps] = field(default_factory=dict)

    def take(  # noqa: PLR0913
        self,
        segments: Segments,
        batch: Batch,
        of: Numbers,
        before: Ends,
        ends: Ends,
        jumps: NDArray[np.int64],
        *,
        more: bool,
    ) -> None:
        """Count a batch's retransmissions into *ends*, which is what is known after it; *more* may follow.

        *jumps* are the places that leave gaps (harness.tcp.gaps).
        """
        occupies = (of.end > of.position) & (of.flags & RST == 0)
        for side, own in enumerate((batch.from_low, ~batch.from_low)):
            mine = own & occupies
            sent = indices(own)
            old = indices(mine & (of.end <= of.sent))
            old = old[~_is_copy(segments, batch, old, sent, before[:, side])]
            leaves_gap = jumps[mine[jumps]]
            of_end = ends[:, side]
            of_end["gaps"][batch.group[leaves_gap]] = True
            careful = of_end["gaps"][batch.group[old]]
            np.add.at(of_end["resent"], batch.group[old[~careful]], 1)
            if of_end["gaps"].any():
                late = indices(mine & (of.position < of.sent) & of_end["gaps"][batch.group])
                late = late[~_is_copy(segments, batch, late, sent, before[:, side])]
                self._with_gaps(batch, of, of_end, side, np.union1d(leaves_gap, late))
            if more:
                last = np.full(len(batch.start), NONE)
                last[batch.group[sent]] = sent
                told = indices(last != NONE)
                of_end["fingerprint"][told] = _fingerprint(segments, batch.rows[last[told]])

    def _with_gaps(
        self, batch: Batch, of: Numbers, of_end: NDArray[np.void], side: int, places: NDArray[np.int64]
    ) -> None:
        """One by one, for the ends that left a gap."""
        group = batch.group[places]
        rows = zip(
            group.tolist(),
            batch.conversation[group].tolist(),
            of.position[places].tolist(),
            of.end[places].tolist(),
            of.sent[places].tolist(),
            strict=True,
        )
        for index, conversation, position, end, sent in rows:
            gaps = self.gaps.setdefault((conversation, side), [])
            if position > sent:
                gaps.append((sent, position))
                continue
            left = [piece for gap in gaps for piece in _without(gap, position, end)]
            if left == gaps:
                of_end["resent"][index] += end <= sent
            self.gaps[conversation, side] = left


def _is_copy(
    segments: Segments, batch: Batch, places: NDArray[np.int64], own: NDArray[np.int64], of_end: NDArray[np.void]
) -> NDArray[np.bool_]:
    """Which of these places hold a copy of their sender's segment before, which may stand in an earlier piece."""
    if not len(places):
        return np.zeros(0, np.bool_)
    index = np.searchsorted(own, places) - 1
    before = own[np.maximum(index, 0)]
    here = (index >= 0) & (batch.group[before] == batch.group[places])
    marks = np.where(here, _fingerprint(segments, batch.rows[before]), of_end["fingerprint"][batch.group[places]])
    copies: NDArray[np.bool_] = (segments.ip_id[batch.rows[places]] > 0) & (
        marks == _fingerprint(segments, batch.rows[places])
    )
    return copies


def _fingerprint(segments: Segments, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One number for all fields of each segment."""
    mark = np.zeros(len(rows), np.uint64)
    for name in _FIELDS:
        mark = (mark ^ getattr(segments, name)[rows].astype(np.uint64)) * _ODD
        mark ^= mark >> np.uint64(29)
    return mark


def _without(gap: tuple[int, int], begin: int, end: int) -> _Gaps:
    """What is left of a gap when a segment has filled its part."""
    if end <= gap[0] or begin >= gap[1]:
        return [gap]
    return [(a, b) for a, b in ((gap[0], begin), (end, gap[1])) if a < b]
