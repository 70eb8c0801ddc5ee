"""Where the records of a file begin, when each says only how long it is: a chain that is walked at many places at once.

Walking from record to record waits for memory at every step. So the bytes are cut into lanes; each lane begins at a
guess, a place that looks like a record and is followed by more of them, and all lanes walk in step. What proves the
guesses is where they end: every lane must land exactly on the next lane's beginning. If one does not, the chain is
walked from the one true beginning.
"""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.captures.fields import Bools, Ints

_LANES = 256
_WORTH_IT = 1 << 20  # bytes
_LOOK, _LOOKS = 1 << 9, 64  # offsets looked at together for a record's beginning, and how often
_FOLLOWED_BY = 4  # records that must follow a guess

Words = NDArray[np.uint32]  # the four bytes at each offset, as a number: an array over every offset of a buffer


def words_of(data: NDArray[np.uint8], order: str) -> Words:
    """Every offset's four bytes as a number; *order* is struct's "<" or ">"."""
    words: Words = np.ndarray((len(data) - 3,), order + "u4", data, strides=(1,))
    return words


def chain(  # noqa: PLR0913
    data: NDArray[np.uint8],
    order: str,
    stop: int,
    *,
    length_at: int,
    header: int,
    longest: int,
    looks_like_records: Callable[[Words, Ints], Bools],
) -> Ints:
    """Where the records begin: those from offset 0 on that are not too long and end at or before *stop*.

    Args:
        data: the bytes, with `fields.SPARE` more behind *stop*.
        order: of the lengths' bytes, struct's "<" or ">".
        stop: where the bytes end.
        length_at: where in a record its length stands, as four bytes.
        header: how many bytes a record has besides that length.
        longest: the greatest length.
        looks_like_records: whether at these offsets records may begin.
    """
    if stop >= _WORTH_IT:
        words = words_of(data, order)
        found = _in_step(data, words, stop, length_at, header, longest, looks_like_records)
        if found is not None:
            last = int(found[-1])
            at = last + header + int(words[last + length_at])
            return np.concatenate((found, _in_sequence(data, order, at, stop, length_at, header, longest)))
    return _in_sequence(data, order, 0, stop, length_at, header, longest)


def _in_sequence(  # noqa: PLR0913
    data: NDArray[np.uint8], order: str, at: int, stop: int, length_at: int, header: int, longest: int
) -> Ints:
    starts: list[int] = []
    unpack, octets = struct.Struct(order + "I").unpack_from, data.data
    while at + length_at + 4 <= stop:
        length = unpack(octets, at + length_at)[0]
        following = at + header + length
        if length > longest or following > stop or following <= at:
            break
        starts.append(at)
        at = following
    return np.array(starts, np.int64)


def _in_step(  # noqa: PLR0913
    data: NDArray[np.uint8],
    words: Words,
    stop: int,
    length_at: int,
    header: int,
    longest: int,
    looks_like_records: Callable[[Words, Ints], Bools],
) -> Ints | None:
    """The records up to the last lane's beginning; None if a lane does not land on the next one's."""
    top = stop - header - length_at - 4
    size = stop // _LANES
    begins = _guesses(words, np.arange(size, stop - size, size), top, length_at, header, looks_like_records)
    begins = np.unique(np.append(0, begins))
    at, limit = begins[:-1], begins[1:]
    if not len(at):
        return None
    steps: list[Ints] = []
    four = np.arange(length_at, length_at + 4)
    while (going := at < limit).any():
        steps.append(at)
        length = data.take(np.minimum(at, top)[:, None] + four).view(words.dtype)[:, 0]  # far faster than words[…]
        at = np.where(going, at + header + length, at)
    if (at != limit).any():
        return None
    walked = np.array(steps)
    starts: Ints = walked.T[(walked < limit).T]
    return None if (words[starts + length_at] > longest).any() else starts


def _guesses(  # noqa: PLR0913
    words: Words,
    places: Ints,
    top: int,
    length_at: int,
    header: int,
    looks_like_records: Callable[[Words, Ints], Bools],
) -> Ints:
    """For each place an offset behind it that looks like a record and is followed by more; for some none is found."""
    found: list[Ints] = []
    look = np.arange(_LOOK)
    for _ in range(_LOOKS):
        places = places[places + _LOOK < top]
        at = (places[:, None] + look).ravel()
        at = likely = at[looks_like_records(words, at)]
        for _ in range(_FOLLOWED_BY):
            at = at + header + words[at + length_at]
            inside = at <= top
            at, likely = at[inside], likely[inside]
            follows = looks_like_records(words, at)
            at, likely = at[follows], likely[follows]
        lanes, first = np.unique(np.searchsorted(places, likely, "right") - 1, return_index=True)
        found.append(likely[first])
        places = np.delete(places, lanes) + _LOOK
        if not len(places):
            break
    return np.concatenate(found)
