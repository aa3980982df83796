"""µ-law and A-law, the eight-bit codes of telephony (ITU-T G.711), by table.

The key decision: each code's value comes from the recommendation's formula and the nearest code is looked up, so that
encoding is exact for every value that decoding can give, and no table of numbers has to be believed.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import numpy.typing as npt

Law = Literal["ulaw", "alaw"]
Samples = npt.NDArray[np.int16]


def compress(samples: Samples, law: Law) -> bytes:
    """Return one byte for each 16-bit sample."""
    return _codes(law)[samples.astype(np.int32) + 32768].tobytes()


def expand(data: bytes, law: Law) -> Samples:
    """Return one 16-bit sample for each byte."""
    return _values(law)[np.frombuffer(data, dtype=np.uint8)]


@functools.cache
def _values(law: Law) -> Samples:
    """Return the 16-bit value of each of the 256 codes."""
    codes = np.arange(256, dtype=np.int32)
    bits = codes ^ (0xFF if law == "ulaw" else 0x55)
    exponent, mantissa = (bits >> 4) & 7, bits & 15
    if law == "ulaw":
        magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
        positive = bits & 0x80 == 0
    else:
        first = (mantissa << 4) + 8
        magnitude = np.where(exponent == 0, first, (first + 0x100) << np.maximum(exponent - 1, 0))
        positive = bits & 0x80 != 0
    return np.where(positive, magnitude, -magnitude).astype(np.int16)


@functools.cache
def _codes(law: Law) -> npt.NDArray[np.uint8]:
    """Return the code nearest to each 16-bit value, from -32768 up."""
    values = _values(law).astype(np.int32)
    order = np.argsort(values, kind="stable")
    between = (values[order][1:] + values[order][:-1]) / 2
    # "right": of µ-law's two zeros this takes 0xFF, the one that telephony sends as silence.
    places = np.searchsorted(between, np.arange(-32768, 32768), side="right")
    nearest: npt.NDArray[np.uint8] = order[places].astype(np.uint8)
    return nearest
