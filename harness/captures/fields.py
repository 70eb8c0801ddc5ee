"""Big-endian fields at many offsets at once."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Octets = NDArray[np.uint8]

SPARE = 128  # how many bytes must lie behind the last frame, so that no header of a cut one reaches outside


def with_spare(data: bytes) -> Octets:
    """The bytes as an array, with `SPARE` zeros behind them."""
    return np.frombuffer(data + bytes(SPARE), np.uint8)


class Fields:
    """Fields of a buffer; the offsets lie inside, by the masks of who asks."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets

    def u8(self, at: Ints) -> Ints:
        """One byte at each offset."""
        return self._octets[at].astype(np.int64)

    def u16(self, at: Ints) -> Ints:
        """Two bytes, big-endian."""
        return self.u8(at) << 8 | self.u8(at + 1)

    def u32(self, at: Ints) -> Ints:
        """Four bytes, big-endian."""
        return self.u16(at) << 16 | self.u16(at + 2)
