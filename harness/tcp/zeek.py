"""Zeek's names for a connection: `conn_state` and `history`, as its conn.log has them.

Source: Zeek's documentation of base/protocols/conn/main.zeek; what it leaves open (what counts once, what a partial
connection is) was read off its TCP analyser. Upper case is the originator, lower case the responder.
"""

from collections.abc import Iterator
from enum import Enum, auto

import numpy as np

from harness.tcp.arithmetic import Arithmetic
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import Segments
from harness.tcp.splitting import Rows


class _End(Enum):
    """Zeek's states of one end: coarser than RFC 9293's, and moved by what the end sends only."""

    INACTIVE = auto()
    SYN_SENT = auto()
    SYN_ACK_SENT = auto()
    PARTIAL = auto()
    ESTABLISHED = auto()
    CLOSED = auto()
    RESET = auto()
    CLOSED_THEN_RESET = auto()  # a FIN, then a RST: closed after all if the peer's FIN comes


_ONCE_EACH_POWER_OF_TEN = frozenset(10**n for n in range(10))


def _after(me: _End, peer: _End, flags: int, *, from_originator: bool, has_data: bool) -> tuple[_End, _End]:
    """Both ends' states (sender, peer) after one segment."""
    if me is _End.INACTIVE:
        if flags & SYN and from_originator:
            me = _End.SYN_ACK_SENT if flags & ACK else _End.SYN_SENT
        elif flags & SYN:
            me, peer = _End.ESTABLISHED, _End.ESTABLISHED if peer is _End.SYN_SENT else peer
        if flags & FIN:
            me = _End.CLOSED
        if flags & RST:
            me = _End.RESET
        if me is _End.INACTIVE:
            if not from_originator and not has_data and peer is _End.SYN_SENT:
                return me, peer  # an ACK of the SYN ahead of the SYN-ACK
            me = _End.ESTABLISHED if flags & ACK and peer is _End.ESTABLISHED else _End.PARTIAL
    elif me in (_End.SYN_SENT, _End.SYN_ACK_SENT):
        me = _End.RESET if flags & RST else _End.CLOSED if flags & FIN else me
    elif me in (_End.ESTABLISHED, _End.PARTIAL):
        if flags & SYN and not flags & ACK and me is _End.PARTIAL and peer is _End.INACTIVE:
            me = _End.SYN_SENT
        me = _End.RESET if flags & RST else _End.CLOSED if flags & FIN else me
        if me is _End.CLOSED and peer is _End.CLOSED_THEN_RESET:
            peer = _End.CLOSED
    elif me is _End.CLOSED and flags & RST and peer is not _End.CLOSED:
        me = _End.CLOSED_THEN_RESET
    return me, peer


def _name(originator: _End, responder: _End, history: str, *, data: bool) -> str:  # noqa: PLR0911
    idle = (_End.INACTIVE, _End.PARTIAL)
    originator, responder = (_End.RESET if e is _End.CLOSED_THEN_RESET else e for e in (originator, responder))
    if responder is _End.RESET:
        if originator in (_End.SYN_SENT, _End.SYN_ACK_SENT) or (originator is _End.RESET and not data):
            return "REJ"
        return "RSTRH" if originator in idle else "RSTR"
    if originator is _End.RESET:
        if responder not in idle:
            return "RSTO"
        before_rst = history.partition("R")[0]
        return "RSTOS0" if before_rst.startswith("S") and not set(before_rst) & set("HAFGIQ") else "OTH"
    if originator is _End.CLOSED and responder is _End.CLOSED:
        return "SF"
    if originator is _End.CLOSED:
        return "SH" if responder in idle else "S2"
    if responder is _End.CLOSED:
        return "SHR" if originator in idle else "S3"
    if originator is _End.SYN_SENT and responder is _End.INACTIVE:
        return "S0"
    return "S1" if originator is responder is _End.ESTABLISHED else "OTH"


def _letters(segments: Segments, conversation: Rows, numbers: Arithmetic) -> Iterator[tuple[int, str]]:
    """Each row's letter for `history`, before repetitions are dropped."""
    flags = segments.flags[conversation.rows]
    length = segments.length[conversation.rows]
    window = segments.window[conversation.rows]
    control = flags & (SYN | FIN | RST) != 0
    plain = ~control & ((length > 0) | (flags & ACK != 0))
    repeated = (length > 0) & (flags & (SYN | RST) == 0) & (numbers.end <= numbers.sent)
    # A closed window is of no account once the peer has said its last.
    closed_window = (window == 0) & (flags & RST == 0)
    for own in (conversation.forward, ~conversation.forward):
        fins = np.flatnonzero(~own & (flags & FIN != 0))[:1]
        if len(fins):
            closed_window[fins[0] :] &= ~own[fins[0] :]
    for row in np.flatnonzero(control | plain).tolist():
        bits = int(flags[row])
        kinds = (bits & (SYN | FIN | RST)).bit_count()
        if kinds > 1:
            yield row, "I" if bits & FIN and bits & RST else "Q"
        elif bits & SYN:
            yield row, "H" if bits & ACK else "S"
        elif bits & FIN:
            yield row, "F"
        elif bits & RST:
            yield row, "R"
        else:
            yield row, "D" if length[row] else "A"
        if closed_window[row]:
            yield row, "W"
        if repeated[row]:
            yield row, "T"


def describe(segments: Segments, conversation: Rows, numbers: Arithmetic) -> tuple[str, str]:
    """Returns (conn_state, history)."""
    history = ""
    last: dict[str, int] = {}
    counts: dict[str, int] = {}
    for row, letter in _letters(segments, conversation, numbers):
        code = letter if conversation.forward[row] else letter.lower()
        if letter in "SHFR":  # again only where it is another one: at another number
            place = int(numbers.end[row] if letter == "F" else numbers.position[row])
            kind = code.replace("H", "S").replace("h", "s")  # one number for the SYN, with ACK or without
            if last.get(kind) != place:
                history += code
            last[kind] = place
        else:
            counts[code] = counts.get(code, 0) + 1
            if counts[code] == 1 or (letter in "TW" and counts[code] in _ONCE_EACH_POWER_OF_TEN):
                history += code

    flags = segments.flags[conversation.rows]
    length = segments.length[conversation.rows]
    ends = [_End.INACTIVE, _End.INACTIVE]
    control = flags & (SYN | FIN | RST) != 0
    firsts = [rows[0] for rows in map(np.flatnonzero, (conversation.forward, ~conversation.forward)) if len(rows)]
    control[firsts] = True
    for row in np.flatnonzero(control).tolist():
        sender = 0 if conversation.forward[row] else 1
        ends[sender], ends[1 - sender] = _after(
            ends[sender],
            ends[1 - sender],
            int(flags[row]),
            from_originator=sender == 0,
            has_data=bool(length[row]),
        )
    return _name(ends[0], ends[1], history, data=bool(length.any())), history
