"""What a capture's conversations amount to, one summary each, from what a `Tracker` kept of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arrays import indices
from harness.tcp.control import ACKS_SYN, BY_RESPONDER, turned
from harness.tcp.flags import ACK, RST, SYN
from harness.tcp.known import NONE
from harness.tcp.segments import ABSENT, CAPTURE_AT, Segments, bundles, endpoint_text
from harness.tcp.splitting import initiator_is_low
from harness.tcp.tracking import ANY_DATA, Scripts, Tracker, completeness
from harness.tcp.verdict import Closer, verdict
from harness.tcp.zeek import conn_state, histories

_OPENING = SYN | ACK


@dataclass(frozen=True, slots=True)
class Options:
    """What one end's SYN offered; None where that is not shown.

    Attributes:
        mss: maximum segment size, bytes; None if it has no such option.
        window_scale: shift count; likewise.
        sack_permitted: whether it has that option; likewise timestamps and fast_open.
    """

    mss: int | None
    window_scale: int | None
    sack_permitted: bool
    timestamps: bool
    fast_open: bool


class Summary(NamedTuple):
    """One conversation; pairs are (initiator's, responder's).

    Attributes:
        ends: "IP:PORT".
        isns: the initial sequence numbers; None where no SYN was seen.
        open: see `harness.tcp.verdict.Verdict`, likewise close and closer.
        conn_state: Zeek's.
        history: Zeek's.
        completeness: Wireshark's.
        first_frame: frames count from 1 as in Wireshark.
        last_frame: likewise.
        segments: how many.
        bytes: how long each end's stream is as far as it was captured, in payload bytes; gaps count, repetitions do
            not.
        retransmissions: segments that carry only what had been seen before.
        handshake_rtt: nanoseconds from the initiator's last SYN before the SYN-ACK to the ACK of that; None where they
            were not captured.
        options: what each SYN offered; None where no SYN was seen, or no options are shown.
    """

    ends: tuple[str, str]
    isns: tuple[int | None, int | None]
    open: str
    close: str
    closer: Closer | None
    conn_state: str
    history: str
    completeness: int
    first_frame: int
    last_frame: int
    segments: int
    bytes: tuple[int, int]
    retransmissions: tuple[int, int]
    handshake_rtt: int | None
    options: tuple[Options | None, Options | None]


def _joined(parts: list[Scripts]) -> Scripts:
    """All pieces' control segments, by conversation and in capture order."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Scripts.__slots__}
    order = np.lexsort((columns["frame"], columns["conversation"]))
    return Scripts(**{name: column[order] for name, column in columns.items()})


def _firsts(conversation: NDArray[np.int64], rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Each conversation's first of these rows, or NONE."""
    found = np.full(count, NONE)
    found[conversation[rows[::-1]]] = rows[::-1]
    return found


def initiators(tracker: Tracker, scripts: Scripts) -> NDArray[np.bool_]:
    """For each conversation, whether the low end is the initiator."""
    whole = tracker.known.whole[: tracker.known.count]
    by_high = scripts.codes & BY_RESPONDER != 0
    opening = scripts.codes & _OPENING
    syn = _firsts(scripts.conversation, indices(opening == SYN), len(whole))
    syn_ack = _firsts(scripts.conversation, indices(opening == _OPENING), len(whole))
    ports = whole["low"] & np.uint64(0xFFFF), whole["high"] & np.uint64(0xFFFF)
    first = whole["first_by_low"]
    return initiator_is_low(
        np.where(syn == NONE, NONE, by_high[syn]),
        np.where(syn_ack == NONE, NONE, by_high[syn_ack]),
        first,
        np.where(first, *ports),
        np.where(first, *ports[::-1]),
    )


def summaries_of_many(captures: list[Segments]) -> list[list[Summary]]:
    """The summaries of many small captures, worked out together."""
    found: list[list[Summary]] = [[] for _ in captures]
    for places, segments in bundles(captures):
        tracker = Tracker()
        tracker.take_all(segments)
        whole = tracker.known.whole[: tracker.known.count]
        of = np.sort(whole["low"] >> np.uint64(16 + CAPTURE_AT)).tolist()
        for capture, summary in zip(of, summaries(tracker), strict=True):
            found[places[capture]].append(summary)
    return found


def summaries(tracker: Tracker) -> Iterator[Summary]:
    """All conversations, in order of their first frame."""
    tracker.finish()
    count = tracker.known.count
    if not count:
        return
    scripts = _joined(tracker.scripts)
    tracker.scripts = [scripts]  # the pieces are not needed any more
    low = initiators(tracker, scripts)
    whole = tracker.known.whole[:count]
    all_histories = histories(tracker.letters, low, whole["first_by_low"])
    codes = turned(scripts.codes, low[scripts.conversation])
    stops = np.searchsorted(scripts.conversation, np.arange(count + 1)).tolist()
    one, two = _Side(tracker, scripts, codes, 0, low), _Side(tracker, scripts, codes, BY_RESPONDER, low)
    address = lru_cache(1 << 12)(lambda key: endpoint_text(key, 0, tracker.ipv6)[:-1])  # with the colon

    def endpoint(key: int) -> str:
        return f"{address(key >> 16)}{key & 0xFFFF}"

    rtts = _round_trips(scripts, codes, count)
    columns = [whole[name].tolist() for name in ("first_frame", "last_frame", "segments")]
    all_completeness = completeness(whole).tolist()
    has_data = (whole["completeness"] & ANY_DATA != 0).tolist()
    of = whole["low"] >> np.uint64(16 + CAPTURE_AT)  # several captures: one after the other
    for number in np.lexsort((whole["first_frame"], of)).tolist():  # a few were held back
        first_frame, last_frame, segments = (column[number] for column in columns)
        script, history = tuple(codes[stops[number] : stops[number + 1]].tolist()), all_histories[number]
        said = verdict(script, initiator_acked=one.acked[number])
        yield Summary(
            (endpoint(one.endpoint[number]), endpoint(two.endpoint[number])),
            (one.isn[number], two.isn[number]),
            said.open,
            said.close,
            said.closer,
            conn_state(script, history, data=has_data[number]),
            history,
            all_completeness[number],
            first_frame,
            last_frame,
            segments,
            (one.size[number], two.size[number]),
            (one.resent[number], two.resent[number]),
            rtts[number],
            (one.options[number], two.options[number]),
        )


class _Side:
    """What is known of all initiators, or of all responders: flat lists, one value a conversation."""

    def __init__(
        self, tracker: Tracker, scripts: Scripts, codes: NDArray[np.uint16], by: int, low: NDArray[np.bool_]
    ) -> None:
        count = len(low)
        is_low = low if by == 0 else ~low
        whole, ends = tracker.known.whole[:count], tracker.known.ends[:count]
        of_end = ends[np.arange(count), (~is_low).astype(np.int64)]
        self.endpoint: list[int] = np.where(is_low, whole["low"], whole["high"]).tolist()
        self.isn: list[int | None] = [None if isn == NONE else isn for isn in of_end["isn"].tolist()]
        self.size: list[int] = np.maximum(0, of_end["data_end"] - of_end["origin"] - 1).tolist()
        self.resent: list[int] = of_end["resent"].tolist()
        self.acked: list[bool] = (of_end["bits"] & ACK != 0).tolist()
        self.options = _offers(scripts, codes, by, count, shown=tracker.options_shown)


def _round_trips(scripts: Scripts, codes: NDArray[np.uint16], count: int) -> list[int | None]:
    """Each conversation's `handshake_rtt`."""
    conversation = scripts.conversation
    opening = codes & _OPENING
    syn_ack = _firsts(conversation, indices((opening == _OPENING) & (codes & BY_RESPONDER != 0)), count)
    answered = syn_ack[conversation]
    rows = np.arange(len(codes))
    from_initiator = codes & BY_RESPONDER == 0
    syns = indices((opening == SYN) & from_initiator & (rows < answered))
    last_syn = np.full(count, NONE)
    last_syn[conversation[syns]] = syns
    thirds = (codes & (SYN | RST | ACK) == ACK) & (codes & ACKS_SYN != 0) & from_initiator & (rows > answered)
    third = _firsts(conversation, indices(thirds & (answered != NONE)), count)
    shown = (last_syn != NONE) & (third != NONE)
    taken = scripts.time[third] - scripts.time[last_syn]
    return [rtt if there else None for rtt, there in zip(taken.tolist(), shown.tolist(), strict=True)]


def _offers(scripts: Scripts, codes: NDArray[np.uint16], by: int, count: int, *, shown: bool) -> list[Options | None]:
    """What each conversation's first SYN by one end offered."""
    found: list[Options | None] = [None] * count
    if not shown:
        return found
    syns = indices((codes & SYN != 0) & (codes & BY_RESPONDER == by))
    syns = _firsts(scripts.conversation, syns, count)
    syns = syns[syns != NONE]
    names = ("conversation", "mss", "wscale", "sack_permitted", "timestamps", "fast_open")
    known: dict[tuple[int, int, bool, bool, bool], Options] = {}
    for number, *offer in zip(*(getattr(scripts, name)[syns].tolist() for name in names), strict=True):
        key = tuple(offer)
        if key not in known:
            mss, scale, *rest = key
            known[key] = Options(None if mss == ABSENT else mss, None if scale == ABSENT else scale, *rest)
        found[number] = known[key]
    return found
