"""Where each segment's numbers stand, counted from the ISNs, as initiator and responder see them.

`harness.tcp.arithmetic` works without knowing who opened a conversation, nor, before it has seen all, where its SYNs
are. This is the same once both are known: Wireshark's relative sequence numbers, with 0 for the SYN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import Numbers, numbers
from harness.tcp.arrays import indices
from harness.tcp.flags import ACK, RST
from harness.tcp.known import NONE, Ends, Known
from harness.tcp.segments import Segments
from harness.tcp.splitting import Batch, Rows

Positions = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Relative:
    """Columns of one conversation, one row a segment.

    Attributes:
        base: the 32-bit number at position 0 of each stream: (initiator's, responder's).
        isn_shown: whether each base is an ISN that the capture shows.
        position: where the segment begins in its sender's stream.
        end: where it ends.
        ack: what it acknowledges, as a position in the other stream; NONE where the flag ACK is off.
        offset: where it begins, less how far its sender's stream had been sent before it; 0 if nothing had.
        sent: how far its sender's stream had been sent before it, 0 if nothing had.
        peer_sent: how far the other stream had been sent before it, likewise.
        acked: what its sender had acknowledged before it, or NONE.
        sent_row: the row that had gone as far as `sent`, or NONE.
        peer_sent_row: the row that had gone as far as `peer_sent`, or NONE.
        acked_row: the row that acknowledged as far as `acked`, or NONE.
    """

    base: tuple[int, int]
    isn_shown: tuple[bool, bool]
    position: Positions
    end: Positions
    ack: Positions
    offset: Positions
    sent: Positions
    peer_sent: Positions
    acked: Positions
    sent_row: Positions
    peer_sent_row: Positions
    acked_row: Positions


def relative(batch: Batch, of: Numbers, ends: Ends, initiator_is_low: Bools) -> list[Relative]:
    """Each group's columns, for all groups at once.

    Args:
        batch: the segments, sorted; a whole capture.
        of: their arithmetic.
        ends: shape (g, 2): what is known of each group's ends.
        initiator_is_low: bool[g].
    """
    group = batch.group
    has_ack, is_rst = of.flags & ACK != 0, of.flags & RST != 0
    origin_low, origin_high = ends["origin"][group, 0], ends["origin"][group, 1]
    own = np.where(batch.from_low, origin_low, origin_high)
    peers = np.where(batch.from_low, origin_high, origin_low)
    position, end = of.position - own, of.end - own
    ack = np.where(has_ack, of.ack - peers, NONE)
    sent_row, peer_sent_row = _record_rows(batch, of, end, ~is_rst, 0)
    acked_row, _ = _record_rows(batch, of, ack, has_ack & ~is_rst, NONE)
    columns = (
        position,
        end,
        ack,
        np.where(sent_row == NONE, 0, of.position - of.sent),
        np.where(sent_row == NONE, 0, of.sent - own),
        np.where(peer_sent_row == NONE, 0, of.peer_sent - peers),
        np.where(acked_row == NONE, NONE, of.acked - peers),
        sent_row,
        peer_sent_row,
        acked_row,
    )
    bases = (np.where(ends["base"] == NONE, 0, ends["base"] + ends["origin"]) % (1 << 32)).tolist()
    shown = (ends["isn"] != NONE).tolist()
    stops = [*batch.start.tolist(), len(batch.rows)]
    found = []
    for number, low in enumerate(initiator_is_low.tolist()):
        step = 1 if low else -1
        places = slice(stops[number], stops[number + 1])
        base, isn_shown = bases[number][::step], shown[number][::step]
        found.append(
            Relative((base[0], base[1]), (isn_shown[0], isn_shown[1]), *(column[places] for column in columns))
        )
    return found


def _record_rows(
    batch: Batch, of: Numbers, values: Positions, counts: Bools, start: int
) -> tuple[Positions, Positions]:
    """For each row: which row before it has the greatest value, of its own end and of the other; or NONE.

    Only a value above *start*, and only where it counts, makes a record.
    """
    n = len(values)
    head = batch.start[batch.group]
    last: list[Positions] = []
    for own in (batch.from_low, ~batch.from_low):
        places = indices(own & counts)
        seed = np.full(len(batch.start), start)
        _, before = of.running.maximum(places, values[places], seed)
        records = places[values[places] > before[places]]
        row = np.full(n + 1, NONE)
        row[records + 1] = records
        np.maximum.accumulate(row, out=row)
        last.append(np.where(row[:-1] >= head, row[:-1] - head, NONE))
    return np.where(batch.from_low, *last), np.where(batch.from_low, *last[::-1])


def relative_of(segments: Segments, conversation: Rows) -> Relative:
    """The columns of one conversation alone."""
    n = len(conversation.rows)
    low = conversation.initiator <= conversation.responder
    from_low = conversation.forward if low else ~conversation.forward
    batch = Batch(conversation.rows, np.zeros(1, np.int64), np.zeros(n, np.int64), from_low, np.zeros(1, np.int64))
    known = Known()
    known.add(1)
    ends = known.ends[:1].copy()
    of = numbers(segments, batch, ends)
    (found,) = relative(batch, of, ends, np.array([low]))
    return found
