"""Who handed in the same connection: of many fingerprints, those of one connection, and the frames they share.

Two steps, so that a database can do the first: `candidates` share a key; `shared` looks at both and says whether it is
one connection, and by what. A key in common is a hint only: it accuses nobody.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.grading.fingerprints import (
    CORE,
    ENOUGH_BITS,
    FORWARD,
    RANDOM_NUMBERS,
    RANDOM_TIMESTAMPS,
    SHOWN,
    TIMESTAMPED,
    Fingerprint,
    chance,
    mix,
)
from harness.tcp.arrays import indices
from harness.tcp.flags import ACK, SYN

How = Literal["isns", "numbers", "timestamps", "times"]
Ints = NDArray[np.int64]
Partners = Collection[frozenset[str]]

_MOD = 1 << 32
_FEWEST_NUMBERS = 3  # segments with the same sequence and acknowledgment numbers: each pair is 64 bits
_FEWEST_TICKS = 5  # different timestamps: two connections made at once by the same hosts have some in common
_MOST_ALIKE = 4  # rows with one timestamp, or one time to the row before, that are tried as the same segment
_MOST_TRIES = 64  # with how many others one is compared, where they share a key and yet no connection
_TRIES_AT_ONCE = 16  # of these, with how many that hang together


@dataclass(frozen=True, slots=True)
class Shared:
    """What two captures have in common.

    Attributes:
        how: the strongest evidence: both "isns"; else absolute sequence and acknowledgment "numbers"; else the
            "timestamps" (RFC 7323) of segments whose numbers differ by one constant for each end; else the "times"
            between those, in microseconds.
        frames: (frame of the one, frame of the other) for each segment that is in both.
    """

    how: How
    frames: tuple[tuple[int, int], ...]

    @property
    def mirrored(self) -> "Shared":
        """The same, seen from the other."""
        return Shared(self.how, tuple((two, one) for one, two in self.frames))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two who handed in the same connection.

    Attributes:
        one: a student.
        two: the other, later in the order of names.
        shared: what they have in common.
    """

    one: str
    two: str
    shared: Shared


@dataclass(frozen=True, slots=True)
class Group:
    """All who handed in one connection.

    Attributes:
        students: in the order of their names.
        pairs: each of them but the first, with the first one whose partner he is not and with whom he shares frames.
    """

    students: tuple[str, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """A fingerprint's rows as columns (`harness.grading.fingerprints.ROW`); *what*: what every copy shows of one."""

    frame: Ints
    seq: Ints
    ack: Ints
    tsval: Ints
    gap: Ints
    flags: Ints
    what: Ints

    @staticmethod
    def of(one: Fingerprint) -> "_Rows":
        table = one.table
        frame, seq, ack, tsval, gap, flags, length = (
            table[name].astype(np.int64) for name in ("frame", "seq", "ack", "tsval", "gap", "flags", "length")
        )
        return _Rows(frame, seq, ack, tsval, gap, flags, length << 16 | flags & CORE)


class _Same(NamedTuple):
    """Places of rows that are the same segments, in the order of the one's rows."""

    one: Ints
    two: Ints


def shared(one: Fingerprint, two: Fingerprint) -> Shared | None:
    """What two fingerprints have in common; None if that may be chance, or what all captures of a lab have."""
    a, b = _Rows.of(one), _Rows.of(two)
    both = one.evidence & two.evidence
    if both & RANDOM_NUMBERS:
        same = _aligned(a, b, (0, 0))
        if same:
            opened = (a.flags[same.one] & (SYN | ACK) == (SYN | ACK)).any()
            return _found("isns" if opened else "numbers", a, b, same)
    if both & RANDOM_TIMESTAMPS:
        stamped = indices(a.flags & TIMESTAMPED), indices(b.flags & TIMESTAMPED)
        same = _aligned(a, b, _shift(a, b, _alike(a, b, "tsval", *stamped)))
        if same and _same_clocks(a, b, same):
            return _found("timestamps", a, b, same)
    everything = np.arange(len(a.gap)), np.arange(len(b.gap))
    same = _aligned(a, b, _shift(a, b, _alike(a, b, "gap", *everything)))
    return _found("times", a, b, same) if same and _same_times(a, b, same) else None


def _found(how: How, a: _Rows, b: _Rows, same: _Same) -> Shared:
    return Shared(how, tuple(zip(a.frame[same.one].tolist(), b.frame[same.two].tolist(), strict=True)))


def _aligned(a: _Rows, b: _Rows, shift: tuple[int, int]) -> _Same | None:
    """The rows that are the same segments, if b's numbers are a's plus a constant for the (initiator, responder).

    Where a listing does not show a sequence number, and frames are missing, it may be off: then the ack tells, if the
    others tell that it is one connection. None: they do not.
    """
    forward, has_ack = a.flags & FORWARD != 0, a.flags & ACK != 0
    own, other = np.where(forward, *shift), np.where(forward, *shift[::-1])
    seq, ack = (a.seq + own) % _MOD, np.where(has_ack, (a.ack + other) % _MOD, 0)
    same = _matched(_joined(_joined(seq, ack), a.what), _joined(_joined(b.seq, b.ack), b.what))
    if len(same.one) < _FEWEST_NUMBERS:
        return None
    if (a.flags & SHOWN).all() and (b.flags & SHOWN).all():
        return same
    left, right = np.ones(len(a.seq), np.bool_), b.flags & ACK != 0
    left[same.one] = right[same.two] = False
    rows, others = indices(left & has_ack), indices(right)
    loose = _matched(_joined(ack, a.what)[rows], _joined(b.ack, b.what)[others])
    one, two = rows[loose.one], others[loose.two]
    hidden = a.flags[one] & b.flags[two] & SHOWN == 0
    one, two = np.concatenate((same.one, one[hidden])), np.concatenate((same.two, two[hidden]))
    order = one.argsort()
    return _Same(one[order], two[order])


def _joined(one: Ints, two: Ints) -> Ints:
    """Two numbers in one; of more than 64 bits a hash."""
    return mix(one.view(np.uint64)).view(np.int64) ^ two


def _matched(one: Ints, two: Ints) -> _Same:
    """Where the one's values stand in the other."""
    if not len(two):
        return _Same(two, two)
    order = two.argsort(kind="stable")
    ascending = two[order]
    place = np.minimum(ascending.searchsorted(one), len(two) - 1)
    found = indices(ascending[place] == one)
    return _Same(found, order[place[found]])


def _alike(a: _Rows, b: _Rows, name: str, of_a: Ints, of_b: Ints) -> _Same:
    """Those rows with an ACK that may be the same segment, by a column that no shift of the numbers changes."""
    places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    values, what = getattr(b, name)[of_b].tolist(), b.what[of_b].tolist()
    for place, value in zip(of_b.tolist(), zip(values, what, strict=True), strict=True):
        places[value].append(place)
    values, what = getattr(a, name)[of_a].tolist(), a.what[of_a].tolist()
    found = [
        (place, other)
        for place, value in zip(of_a.tolist(), zip(values, what, strict=True), strict=True)
        for other in places.get(value, ())[:_MOST_ALIKE]
        if value[1] & ACK
    ]
    return _Same(*np.array(found, np.int64).reshape(-1, 2).T)


def _shift(a: _Rows, b: _Rows, alike: _Same) -> tuple[int, int]:
    """By what the numbers of the (initiator, responder) are shifted in most of these."""
    own = (b.seq[alike.two] - a.seq[alike.one]) % _MOD
    other = (b.ack[alike.two] - a.ack[alike.one]) % _MOD
    forward = a.flags[alike.one] & FORWARD != 0
    initiator, responder = np.where(forward, own, other), np.where(forward, other, own)
    votes = Counter(zip(initiator.tolist(), responder.tolist(), strict=True))
    return max(votes, key=lambda shift: (votes[shift], shift), default=(0, 0))


def _same_clocks(a: _Rows, b: _Rows, same: _Same) -> bool:
    """Whether nearly all these have the same timestamps, and enough different ones."""
    stamped = a.flags[same.one] & b.flags[same.two] & TIMESTAMPED != 0
    tsval = a.tsval[same.one]
    equal = stamped & (tsval == b.tsval[same.two])
    return len(set(tsval[equal].tolist())) >= _FEWEST_TICKS and 10 * int(equal.sum()) >= 9 * int(stamped.sum())


def _same_times(a: _Rows, b: _Rows, same: _Same) -> bool:
    """Whether most times between these are the same, and have more in common than chance."""
    gap = a.gap[same.one]
    bits, equal = chance(gap), gap == b.gap[same.two]
    told = bits > 0
    return int(bits[equal].sum()) >= ENOUGH_BITS and 2 * int((told & equal).sum()) >= int(told.sum())


def candidates(keys: Iterable[tuple[str, Iterable[int]]]) -> list[tuple[str, ...]]:
    """Who shares a key with whom.

    Args:
        keys: names, each once, with the keys of their fingerprints.

    Returns:
        For each key that several have, and each set of names once: the names, in order.
    """
    owners: list[str] = []
    counts: list[int] = []
    all_keys: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    for name, theirs in sorted(keys):
        mine = np.fromiter(theirs, np.int64)
        owners.append(name)
        counts.append(len(mine))
        all_keys.append(mine)
    together = np.concatenate([np.zeros(0, np.int64), *all_keys])
    owner = np.repeat(np.arange(len(owners)), counts)
    order = together.argsort(kind="stable")
    bounds = np.flatnonzero(np.diff(together[order], prepend=-1, append=-1))
    long = np.flatnonzero(np.diff(bounds) > 1)
    sets = {tuple(owner[order[bounds[at] : bounds[at + 1]]].tolist()) for at in long.tolist()}
    return sorted(tuple(owners[place] for place in places) for places in sets)


def groups(items: Iterable[tuple[str, Fingerprint]], partners: Partners = ()) -> list[Group]:
    """All groups who handed in one connection, in the order of their first students; partners may have the same one.

    Whatever the order of the items, the result is the same.

    Args:
        items: names, each once, with their fingerprints.
        partners: pairs who may; they are still compared with all others.
    """
    known = dict(items)
    allowed = frozenset(partners)
    found = []
    for alike in _components(candidates((name, one.keys) for name, one in known.items())):
        for students in _verified(alike, known):
            group = _group(students, known, allowed)
            if group:
                found.append(group)
    return sorted(found, key=lambda group: group.students)


def pairs(items: Iterable[tuple[str, Fingerprint]], partners: Partners = ()) -> list[Pair]:
    """The pairs of all groups: k students who handed in one connection are k - 1 pairs."""
    return sorted(
        (pair for group in groups(items, partners) for pair in group.pairs), key=lambda pair: (pair.one, pair.two)
    )


def _components(sets: list[tuple[str, ...]]) -> list[list[str]]:
    """The names that hang together, in order."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    for names in sets:
        for one, two in pairwise(names):
            above[top(two)] = top(one)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(above):
        found[top(name)].append(name)
    return list(found.values())


def _verified(names: list[str], known: Mapping[str, Fingerprint]) -> Iterator[list[str]]:
    """Which of these names share frames, directly or by way of others: each part with its names in order."""
    left, tries = names, Counter[str]()
    while left:
        part, left = left[:1], left[1:]
        later: list[str] = []
        for member in part:  # and those it leads to
            apart: list[str] = []
            for name in left:
                if shared(known[member], known[name]):
                    part.append(name)
                else:
                    tries[name] += 1
                    (later if tries[name] % _TRIES_AT_ONCE == 0 else apart).append(name)
            left = apart
        left = sorted(name for name in (*left, *later) if tries[name] < _MOST_TRIES)
        if len(part) > 1:
            yield sorted(part)


def _group(names: list[str], known: Mapping[str, Fingerprint], allowed: frozenset[frozenset[str]]) -> Group | None:
    """What is to be reported of those who share a connection; None if they are all partners."""
    found: set[tuple[str, str]] = set()
    evidence: list[Pair] = []
    for place, name in enumerate(names[1:], 1):
        others = (names[other] for other in chain(range(place), range(place + 1, len(names))))
        strangers = (other for other in others if frozenset((name, other)) not in allowed)
        for other in islice(strangers, _MOST_TRIES):
            one, two = sorted((name, other))
            if (one, two) in found:
                break
            same = shared(known[one], known[two])
            if same:
                found.add((one, two))
                evidence.append(Pair(one, two, same))
                break
    students = tuple(sorted({name for pair in found for name in pair}))
    return Group(students, tuple(sorted(evidence, key=lambda pair: (pair.one, pair.two)))) if students else None
