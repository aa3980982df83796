"""What the metrics of this process were told since a moment."""

from __future__ import annotations

from prometheus_client import REGISTRY

Key = tuple[str, frozenset[tuple[str, str]]]


def numbers() -> dict[Key, float]:
    """Every sample of this process's metrics."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
    }


def now(name: str, **labels: str) -> float:
    """One number as it is now; 0 if there is none."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Told:
    """The metrics as they were when it was made, to compare with."""

    def __init__(self) -> None:
        self._before = numbers()

    def more(self, name: str) -> dict[str, float]:
        """By how much each series of `name` has risen, if it has: its labels' values, by name, to the number."""
        found = {}
        for key, value in numbers().items():
            difference = value - self._before.get(key, 0.0)
            if key[0] == name and difference:
                found[" ".join(text for _, text in sorted(key[1]))] = difference
        return found
