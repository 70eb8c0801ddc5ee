"""A byte stream put together from its pieces, in whatever order and however often they come."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Piece(NamedTuple):
    """Some bytes, and where the first of them stands in the stream, from 0."""

    begin: int
    data: bytes


class Contradiction(NamedTuple):
    """A piece that says other bytes than those before it: which one it is, and where it does so first."""

    place: int
    position: int


class Reassembled(NamedTuple):
    """What pieces amount to.

    Attributes:
        runs: all there is, in order, each as long as it has no hole.
        contradictions: the pieces that contradict others. What came first stays: a receiver cuts off what it has
            already (RFC 9293 §3.10.7.4).
    """

    runs: tuple[Piece, ...]
    contradictions: tuple[Contradiction, ...]


def _extents(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """Where there is anything: each [begin, end) as long as it has no hole, in order."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted((piece.begin, piece.begin + len(piece.data)) for piece in pieces if piece.data):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def reassembled(pieces: Sequence[Piece]) -> Reassembled:
    """Put pieces together, each where it stands; takes memory for the bytes there are, not for holes."""
    extents = _extents(pieces)
    begins = [begin for begin, _ in extents]
    bytes_of = [np.zeros(end - begin, np.uint8) for begin, end in extents]
    known_of = [np.zeros(end - begin, np.bool_) for begin, end in extents]
    contradictions = []
    for place, (begin, data) in enumerate(pieces):
        if not data:
            continue
        run = bisect_right(begins, begin) - 1
        part = slice(begin - begins[run], begin - begins[run] + len(data))
        here, known, new = bytes_of[run][part], known_of[run][part], np.frombuffer(data, np.uint8)
        differs = known & (here != new)
        if differs.any():
            contradictions.append(Contradiction(place, begin + int(differs.argmax())))
        np.copyto(here, new, where=~known)
        known[:] = True
    runs = (Piece(begin, run.tobytes()) for begin, run in zip(begins, bytes_of, strict=True))
    return Reassembled(tuple(runs), tuple(contradictions))
