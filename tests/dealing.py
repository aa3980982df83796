"""In which order the tests are run by several processes.

The key decision: xdist gives each process a block of the tests, and whoever has done its own takes half of what another
one has left, from the end. So what takes a minute stands at the begin of every block: else all of it would lie in one,
and be begun when there is nothing else left to do.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

LONGEST_TESTS = (
    "tests/system/test_whole_stack.py",
    "tests/system/test_observability_drill.py",
    "tests/system/test_failover_page.py",
    "tests/system/test_rollback_drill.py",
    "tests/integration/campaign/",
    "tests/system/",  # most of these listen: four models at once are too much for two cores
    "tests/integration/account_limiter/test_storm.py",
    "tests/process/",
    "tests/dashboard/browser/",
    "tests/integration/secrets/",
)
"""The longest first."""


def deal(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """All of `items`, in the order in which so many processes are to be given them; a file's stay together."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.nodeid.startswith(LONGEST_TESTS):
            files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    hands: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for number, name in enumerate(sorted(files, key=_place)):
        hands[number % processes].extend(files[name])
    others = [item for item in items if not item.nodeid.startswith(LONGEST_TESTS)]
    left = len(items)
    for number, hand in enumerate(hands):
        size = left // (processes - number)  # as xdist divides them
        left -= size
        room = max(0, size - len(hand))
        hand.extend(others[:room])
        del others[:room]
    return [item for hand in hands for item in hand] + others


def _place(name: str) -> int:
    return next(place for place, prefix in enumerate(LONGEST_TESTS) if name.startswith(prefix))
