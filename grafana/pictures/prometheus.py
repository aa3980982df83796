"""Questions to a Prometheus over a stretch of time.

The key decision: an answer is points with times on one grid, gaps as NaN, so that series can be stacked as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import requests

REQUEST_SECONDS = 30.0
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """From `begin` to `end` (Unix seconds), a point every `step` seconds."""

    begin: float
    end: float
    step: float

    def times(self) -> Numbers:
        """The points' times, Unix seconds."""
        return np.arange(self.begin, self.end + self.step / 2, self.step)


@dataclass(frozen=True)
class Series:
    """The values of one series at the span's times; NaN where there is none."""

    labels: Mapping[str, str]
    values: Numbers

    @property
    def last(self) -> float:
        """The latest value that there is; NaN if there is none."""
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if known.size else float("nan")


class Prometheus:
    """A Prometheus at `url`, which has no slash at its end."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, expression: str, span: Span) -> list[Series]:
        """What `expression` is at each of the span's times.

        Raises:
            requests.RequestException: it does not answer, or refuses the expression.
        """
        answer = requests.get(
            f"{self._url}/api/v1/query_range",
            params={
                "query": expression,
                "start": f"{span.begin:.3f}",
                "end": f"{span.end:.3f}",
                "step": f"{span.step:g}",
            },
            timeout=REQUEST_SECONDS,
        )
        if not answer.ok:
            raise requests.HTTPError(f"{answer.status_code} for {expression}: {answer.text[:500]}", response=answer)
        return [_series(each, span) for each in answer.json()["data"]["result"]]


def _series(found: Mapping[str, object], span: Span) -> Series:
    values = np.full(span.times().size, np.nan)
    for at, text in found["values"]:  # type: ignore[attr-defined]  # Prometheus' JSON: pairs of a time and a text
        values[min(round((at - span.begin) / span.step), values.size - 1)] = float(text)
    labels = found["metric"]
    if not isinstance(labels, Mapping):
        raise TypeError("Prometheus answered without labels")
    return Series({name: label for name, label in labels.items() if name != "__name__"}, values)
