"""Zeek's names for a connection: `conn_state` and `history`, as its conn.log has them.

A history begins with "^" where the first segment captured is the responder's: Zeek has turned the connection round
then. (Zeek does so where the sender's port is a well-known server's, we where it is the lower one.)

Source: Zeek's documentation of base/protocols/conn/main.zeek; what it leaves open (what counts once, what a partial
connection is) was read off its TCP analyser. Upper case is the originator, lower case the responder.

"G" is a gap in the originator's payload, of which an ACK by the responder tells (harness.tcp.gaps). It stands after the
letter of that ACK (TCPSessionAdapter::Process: update_history, then peer->AckReceived). It counts only while both ends
are established, or have closed from there, after that ACK (TCP_Reassembler::Gap): so a RST tells of none unless both
had closed, and a connection of which the responder's SYN was not captured has none. Of each end's the first, the tenth,
… are written (Session::ScaledHistoryEntry).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import Numbers
from harness.tcp.arrays import indices, sizes
from harness.tcp.control import BY_RESPONDER, HAS_DATA, Control
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.gaps import Told
from harness.tcp.known import FAR, HIGH, Ends
from harness.tcp.segments import Segments
from harness.tcp.splitting import Batch


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


_POWERS_OF_TEN = np.array([10**n for n in range(10)])
_AFTER_THE_ACK = 3  # the rank of a gap's letter among those of one frame


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


class _Both:
    """The states of the originator and the responder.

    Attributes:
        states: now.
        clean: for each, whether it is established, or closed from there.
    """

    __slots__ = ("_spoke", "clean", "states")

    def __init__(self) -> None:
        self.states = [_End.INACTIVE, _End.INACTIVE]
        self.clean = [False, False]
        self._spoke = [False, False]

    def take(self, code: int, sender: int) -> None:
        """A control segment (harness.tcp.control) by the originator, 0, or the responder, 1."""
        if self._spoke[sender] and not code & (SYN | FIN | RST):
            return
        self._spoke[sender] = True
        old = list(self.states)
        self.states[sender], self.states[1 - sender] = _after(
            old[sender], old[1 - sender], code, from_originator=sender == 0, has_data=bool(code & HAS_DATA)
        )
        for end, state in enumerate(self.states):
            if state is not old[end]:
                closed_cleanly = state is _End.CLOSED and old[end] is _End.ESTABLISHED
                self.clean[end] = state is _End.ESTABLISHED or closed_cleanly


@lru_cache(maxsize=1 << 14)
def conn_state(script: tuple[int, ...], history: str, *, data: bool) -> str:
    """Zeek's conn_state.

    Args:
        script: the control script (harness.tcp.control), which holds the first segment of each end.
        history: Zeek's history.
        data: whether any segment carries payload.
    """
    both = _Both()
    for code in script:
        both.take(code, 1 if code & BY_RESPONDER else 0)
    return _name(both.states[0], both.states[1], history, data=data)


@dataclass(frozen=True, slots=True, eq=False)
class Letters:
    """Letters of histories, from one piece of a capture.

    Attributes:
        conversation: int32[m].
        frame: int64[m].
        rank: uint8[m], the order of the letters of one frame.
        code: uint8[m], the letter for an originator, upper case.
        from_high: bool[m], whether the high end sent it.
        place: int64[m]: a S, H, F or R at the same place as the last of its kind is not written again.
    """

    conversation: NDArray[np.int32]
    frame: NDArray[np.int64]
    rank: NDArray[np.uint8]
    code: NDArray[np.uint8]
    from_high: NDArray[np.bool_]
    place: NDArray[np.int64]


def letters(  # noqa: PLR0913
    segments: Segments,
    batch: Batch,
    of: Numbers,
    script: Control,
    before: Ends,
    ends: Ends,
) -> Letters:
    """The letters that a batch adds to the histories.

    Args:
        segments: the piece.
        batch: its segments, sorted.
        of: their arithmetic.
        script: their control segments.
        before: shape (g, 2): what was known of each group's ends before the piece.
        ends: the same after it; the counts of letters are brought up to date here.
    """
    flags, length = of.flags, of.length
    kinds = flags & (SYN | FIN | RST)
    controls = script.places[kinds[script.places] != 0]
    found = [(controls, 0, _control_letters(kinds[controls], flags[controls]))]
    plain = (kinds == 0) & ((length > 0) | (flags & ACK != 0))
    # Zeek takes a SYN's payload for sent already when it comes to look at it.
    repeats = (length > 0) & (flags & RST == 0) & ((of.end <= of.sent) | (flags & SYN != 0))
    closed = (segments.window[batch.rows] == 0) & (flags & RST == 0)
    for side, own in enumerate((batch.from_low, ~batch.from_low)):
        for name, letter, these in (("data_seen", "D", plain & (length > 0)), ("ack_seen", "A", plain & (length == 0))):
            places = indices(own & these)
            places = places[np.append(True, np.diff(batch.group[places]) != 0)[: len(places)]]
            places = places[~ends[:, side][name][batch.group[places]]]
            ends[:, side][name][batch.group[places]] = True
            found.append((places, 0, _of(letter, places)))
        shut = _before_peers_fin(batch, of, indices(own & closed), before["fin_end"][:, 1 - side], ~own)
        for name, letter, rank, rows in (
            ("closed_windows", "W", 1, shut),
            ("repeats", "T", 2, indices(own & repeats)),
        ):
            places = _at_powers_of_ten(batch, rows, ends[:, side], name)
            found.append((places, rank, _of(letter, places)))
    at = np.concatenate([places for places, _, _ in found])
    return Letters(
        conversation=batch.conversation[batch.group[at]].astype(np.int32),
        frame=segments.frame[batch.rows[at]],
        rank=np.concatenate([np.full(len(places), rank, np.uint8) for places, rank, _ in found]),
        code=np.concatenate([codes for _, _, codes in found]),
        from_high=~batch.from_low[at],
        place=np.where(flags[at] & FIN != 0, of.end[at], of.position[at]),
    )


def _of(letter: str, places: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.full(len(places), ord(letter), np.uint8)


def _control_letters(kinds: NDArray[np.uint16], flags: NDArray[np.uint16]) -> NDArray[np.uint8]:
    table = np.zeros(8, np.uint8)
    for bits in range(1, 8):
        if bits.bit_count() > 1:
            table[bits] = ord("I" if bits & FIN and bits & RST else "Q")
        else:
            table[bits] = ord("S" if bits & SYN else "F" if bits & FIN else "R")
    found: NDArray[np.uint8] = table[kinds]
    found[(found == ord("S")) & (flags & ACK != 0)] = ord("H")
    return found


def _before_peers_fin(
    batch: Batch, of: Numbers, places: NDArray[np.int64], known: NDArray[np.int64], peers: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """These places as far as the peer has sent no FIN yet: after it, a closed window is of no account."""
    if not len(places):
        return places
    first = np.full(len(batch.start), len(batch.rows))
    fins = indices(peers & (of.flags & FIN != 0))[::-1]
    first[batch.group[fins]] = fins
    first[known != FAR] = -1
    return places[places < first[batch.group[places]]]


def _at_powers_of_ten(batch: Batch, places: NDArray[np.int64], of_end: Ends, name: str) -> NDArray[np.int64]:
    """The first, tenth, hundredth, … of these places in each conversation."""
    if not len(places):
        return places
    group = batch.group[places]
    begins = indices(np.append(True, np.diff(group) != 0))
    counts = sizes(begins, len(places))
    number = np.arange(len(places)) - np.repeat(begins, counts) + 1 + of_end[name][group]
    of_end[name][group[begins]] += counts.astype(np.int32)
    return places[np.isin(number, _POWERS_OF_TEN)]


def gap_letters(found: dict[tuple[int, int], Told], scripts: dict[int, list[tuple[int, int]]]) -> Letters:
    """The letters of content gaps.

    Args:
        found: (conversation, whose stream) → what tells of gaps in it.
        scripts: conversation → (frame, code) of its control segments, in order, codes as in `Control`.
    """
    letters: list[tuple[int, int, int]] = []
    for (conversation, side), told in found.items():
        script = scripts[conversation]
        frames = [frame for frame, _ in script]
        clean = _clean(tuple(code for _, code in script))
        count, power = 0, 1
        for frame, number in zip(told.frames, told.numbers, strict=True):
            if clean[bisect_right(frames, frame)]:  # a segment changes the states before its ACK tells
                count += number
                while count >= power:
                    letters.append((conversation, frame, side))
                    power *= 10
    columns = np.array(letters, np.int64).reshape(-1, 3)
    return Letters(
        conversation=columns[:, 0].astype(np.int32),
        frame=columns[:, 1],
        rank=np.full(len(letters), _AFTER_THE_ACK, np.uint8),
        code=np.full(len(letters), ord("G"), np.uint8),
        from_high=columns[:, 2] == HIGH,
        place=np.zeros(len(letters), np.int64),
    )


@lru_cache(maxsize=1 << 14)
def _clean(script: tuple[int, ...]) -> tuple[bool, ...]:
    """Whether both ends are established, or closed from there: before a script, and after each of its segments.

    Without a SYN nothing is ever established, and it does not matter who is the originator.
    """
    syns = [code for code in script if code & (SYN | ACK) == SYN]
    answers = [code ^ BY_RESPONDER for code in script if code & (SYN | ACK) == SYN | ACK]
    originator = next(iter(syns + answers), 0) & BY_RESPONDER
    both, clean = _Both(), [False]
    for code in script:
        both.take(code, int(code & BY_RESPONDER != originator))
        clean.append(all(both.clean))
    return tuple(clean)


def histories(
    found: Sequence[Letters], originator_is_low: NDArray[np.bool_], first_by_low: NDArray[np.bool_]
) -> list[str]:
    """Zeek's history of every conversation.

    Args:
        found: the letters of all pieces.
        originator_is_low: for each conversation.
        first_by_low: whether the low end sent the first segment; likewise.
    """
    conversation = np.concatenate([part.conversation for part in found])
    rank = np.concatenate([part.rank for part in found])
    frame = np.concatenate([part.frame for part in found])
    order = np.lexsort((rank, frame, conversation))
    conversation = conversation[order]
    code = np.concatenate([part.code for part in found])[order]
    from_high = np.concatenate([part.from_high for part in found])[order]
    place = np.concatenate([part.place for part in found])[order]

    # S and H share a kind: one number for the SYN, with ACK or without. I and Q are written once.
    kind = np.where(code == ord("H"), ord("S"), code)
    once = (code == ord("I")) | (code == ord("Q"))
    place = np.where(once, 0, place)
    by_kind = np.lexsort((np.arange(len(code)), kind, from_high, conversation))
    same = np.zeros(len(code), np.bool_)
    same[by_kind[1:]] = (
        (conversation[by_kind[1:]] == conversation[by_kind[:-1]])
        & (kind[by_kind[1:]] == kind[by_kind[:-1]])
        & (from_high[by_kind[1:]] == from_high[by_kind[:-1]])
        & (place[by_kind[1:]] == place[by_kind[:-1]])
        & np.isin(kind[by_kind[1:]], [ord(letter) for letter in "SFRIQ"])
    )
    from_responder = from_high == originator_is_low[conversation]
    text = np.where(from_responder, code + 32, code).astype(np.uint8)[~same].tobytes().decode("ascii")
    stops = np.searchsorted(conversation[~same], np.arange(len(originator_is_low) + 1)).tolist()
    turned = (first_by_low != originator_is_low).tolist()
    return ["^" * turn + text[a:b] for turn, (a, b) in zip(turned, pairwise(stops), strict=True)]
