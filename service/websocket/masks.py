"""Masking (RFC 6455, section 5.3): the C function, and keys for it."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable
from operator import itemgetter

try:
    from websockets.speedups import apply_mask  # C: 0.3 µs for 16 kB
except ImportError:  # no wheel for this platform
    from websockets.utils import apply_mask

__all__ = ["MaskKeys", "apply_mask", "mask_keys"]


class MaskKeys:
    """Fresh masking keys, which nobody can foretell; `draw` gives one.

    1,024 of them come with one call: asking the kernel for each takes longer (0.7 µs) than masking 10 kB with it. All
    of it is made of iterators in C, which two threads may share.
    """

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)  # or two workers would use the same ones

    def renew(self) -> None:
        """Forget those that are drawn already."""
        supplies = map(struct.Struct("4s").iter_unpack, map(os.urandom, itertools.repeat(4096)))
        self.draw: Callable[[], bytes] = map(itemgetter(0), itertools.chain.from_iterable(supplies)).__next__


mask_keys = MaskKeys()
