"""TCP options (RFC 9293 §3.1) of many segments at once."""

import numpy as np

from harness.captures.fields import Fields, Ints
from harness.tcp.arrays import indices
from harness.tcp.segments import ABSENT

_END, _NOP, _MSS, _SCALE, _SACK_PERMITTED, _SACK, _TIMESTAMPS, _FAST_OPEN, _EXPERIMENT = 0, 1, 2, 3, 4, 5, 8, 34, 254
_FAST_OPEN_MAGIC = 0xF989  # what told Fast Open from other experiments before it had a number (RFC 7413 §4.1.1)

# column → what it holds where the option is absent
COLUMNS = {
    "mss": ABSENT,
    "wscale": ABSENT,
    "sack_permitted": 0,
    "sack": 0,
    "fast_open": 0,
    "tsval": ABSENT,
    "tsecr": ABSENT,
}


def read_options(field: Fields, at: Ints, limit: Ints) -> dict[str, Ints]:
    """Walk the options of all segments in step: at most 40 rounds for any number of them.

    Args:
        field: reads the buffer.
        at: where each segment's options begin.
        limit: where they end.

    Returns:
        A column for each name in `COLUMNS`; "sack" is where the option begins in the buffer.
    """
    found = {name: np.full(len(at), absent, np.int64) for name, absent in COLUMNS.items()}
    rows = indices(at < limit)
    at, limit = at[rows], limit[rows]
    while len(rows):
        kind, size = field.u8(at), field.u8(at + 1)
        size[kind == _NOP] = 1
        whole = (kind != _END) & (size + (kind == _NOP) >= 2) & (at + size <= limit)
        if not whole.all():
            rows, at, limit, kind, size = rows[whole], at[whole], limit[whole], kind[whole], size[whole]
        for code in set(kind.tolist()) - {_NOP}:
            here = kind == code
            _take(found, field, code, rows[here], at[here], size[here])
        at = at + size
        more = at < limit
        rows, at, limit = rows[more], at[more], limit[more]
    return found


def _take(  # noqa: PLR0913
    found: dict[str, Ints], field: Fields, code: int, rows: Ints, at: Ints, size: Ints
) -> None:
    """One kind of option, at these places."""
    wanted = {_MSS: 4, _SCALE: 3, _SACK_PERMITTED: 2, _TIMESTAMPS: 10}.get(code)
    if wanted is not None:
        fits = size == wanted
        rows, at = rows[fits], at[fits]
    if code == _MSS:
        found["mss"][rows] = field.u16(at + 2)
    elif code == _SCALE:
        found["wscale"][rows] = field.u8(at + 2)
    elif code == _SACK_PERMITTED:
        found["sack_permitted"][rows] = 1
    elif code == _TIMESTAMPS:
        found["tsval"][rows], found["tsecr"][rows] = field.u32(at + 2), field.u32(at + 6)
    elif code == _SACK:
        found["sack"][rows] = at
    elif code == _FAST_OPEN:
        found["fast_open"][rows] = 1
    elif code == _EXPERIMENT:
        found["fast_open"][rows[(size >= 4) & (field.u16(at + 2) == _FAST_OPEN_MAGIC)]] = 1
