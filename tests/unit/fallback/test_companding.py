from __future__ import annotations

import numpy as np
import pytest

from service.fallback.companding import Law, compress, expand


@pytest.mark.parametrize(
    ("law", "code", "value"),
    [
        ("ulaw", 0xFF, 0),  # the values of ITU-T G.711, tables 2a and 1a, scaled to 16 bits
        ("ulaw", 0x80, 32_124),
        ("ulaw", 0x00, -32_124),
        ("ulaw", 0xFE, 8),
        ("alaw", 0xD5, 8),
        ("alaw", 0x55, -8),
        ("alaw", 0xAA, 32_256),
        ("alaw", 0x2A, -32_256),
    ],
)
def test_codes_have_the_recommendations_values(law: Law, code: int, value: int) -> None:
    assert expand(bytes([code]), law)[0] == value
    assert compress(np.array([value], dtype=np.int16), law) == bytes([code])


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_every_value_that_a_code_has_is_encoded_without_loss(law: Law) -> None:
    values = expand(bytes(range(256)), law)

    assert np.array_equal(expand(compress(values, law), law), values)


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_loud_and_soft_samples_keep_their_proportion(law: Law) -> None:
    samples = np.arange(-32_768, 32_768, dtype=np.int32)
    decoded = expand(compress(samples.astype(np.int16), law), law).astype(int)
    loud = np.abs(samples) > 300

    assert np.max(np.abs(decoded[loud] - samples[loud]) / np.abs(samples[loud])) < 0.04
    assert np.max(np.abs(decoded[~loud] - samples[~loud])) <= 16
