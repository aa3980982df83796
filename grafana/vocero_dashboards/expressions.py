"""PromQL as the dashboards need it: rates, shares and percentiles of what the variables above a dashboard select.

The key decision: every selector is made here, so each one obeys the dashboard's `instance`, and each one whose metric
knows providers can obey `provider`; no panel forgets it. A share of nothing is no number, not 0 %.
"""

from __future__ import annotations

RATE = "$__rate_interval"
"""Grafana's own: never shorter than four scrapes, so there is always something between two points."""

INSTANCE = 'instance=~"$instance"'
PROVIDER = 'provider=~"$provider"'


def select(metric: str, *matchers: str) -> str:
    """The series of `metric` that the dashboard shows."""
    return f"{metric}{{{', '.join((INSTANCE, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "", window: str = RATE) -> str:
    """How often a second, of all instances together; `by`: the labels that stay, separated by commas."""
    return f"sum{_by(by)}(rate({select(metric, *matchers)}[{window}]))"


def per_minute(metric: str, *matchers: str, by: str = "") -> str:
    """How often a minute: what is rare reads better so."""
    return f"60 * {rate(metric, *matchers, by=by)}"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """A gauge, added up over all instances."""
    return f"sum{_by(by)}({select(metric, *matchers)})"


def highest(metric: str, *matchers: str, by: str = "") -> str:
    """A gauge that says the same of the whole service on each instance, or of which the worst one counts."""
    return f"max{_by(by)}({select(metric, *matchers)})"


def lowest(metric: str, *matchers: str, by: str = "") -> str:
    """A gauge of which the smallest value counts."""
    return f"min{_by(by)}({select(metric, *matchers)})"


def share(part: str, whole: str) -> str:
    """`part` of `whole`, 0 to 1; nothing while there is no whole."""
    return f"{part} / ({whole} > 0)"


def percentile(q: float, metric: str, *matchers: str, by: str = "") -> str:
    """The value below which the share `q` of a histogram's observations lies; nothing while there are none.

    Up to the width of the bucket that it falls into it is a guess.
    """
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q:g}, {rate(f'{metric}_bucket', *matchers, by=labels)})"


def mean(metric: str, *matchers: str, by: str = "") -> str:
    """The mean of a histogram's observations; nothing while there are none."""
    return share(rate(f"{metric}_sum", *matchers, by=by), rate(f"{metric}_count", *matchers, by=by))


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
