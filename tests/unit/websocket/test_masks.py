"""Keys that nobody can foretell."""

from __future__ import annotations

import os

import pytest

from service.websocket import masks


def test_keys_differ_and_there_is_no_end_of_them():
    keys = masks.MaskKeys()
    assert len({keys.draw() for _ in range(3000)}) > 2900


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child only draws, writes and ends
def test_a_forked_process_draws_other_masks():
    masks.mask_keys.draw()  # so that there are some left for both
    read_end, write_end = os.pipe()
    if not (child := os.fork()):
        os.write(write_end, masks.mask_keys.draw())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 4) != masks.mask_keys.draw()
    os.close(read_end)
    os.close(write_end)
