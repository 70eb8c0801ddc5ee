"""The two array idioms that everything here is made of, without numpy's general-purpose wrappers around them.

A capture of 60 packets is worked out by a few hundred operations on tiny arrays: there, what a wrapper costs counts.
"""

import numpy as np
from numpy.typing import NDArray


def indices(mask: NDArray[np.bool_] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Where a mask holds (numpy.flatnonzero)."""
    found: NDArray[np.int64] = mask.nonzero()[0]
    return found


def sizes(start: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """How long the parts are that begin at these ascending places; the last ends at *total*."""
    found = np.empty(len(start), np.int64)
    np.subtract(start[1:], start[:-1], out=found[:-1])
    found[-1:] = total - start[-1:]
    return found
