"""What Autobahn's report says of us: which cases passed, which only nearly, and which are missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
"""All but 8 (there is none), 12 and 13: they are about permessage-deflate, which is never agreed to."""

PASSED = frozenset({"OK", "INFORMATIONAL", "NON-STRICT"})

_BEFORE_A_FAULT = ("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15")
_LATE_UTF8 = ("6.4.1", "6.4.2", "6.4.3", "6.4.4")
MAY_BE_NON_STRICT = frozenset((*_BEFORE_A_FAULT, *_LATE_UTF8))
"""Why each of them may be: docs/soak.md. Any other one is a failure."""


@dataclass(frozen=True)
class Report:
    """One role's cases, each with its two behaviours: while it ran, and when it closed."""

    behaviours: Mapping[str, tuple[str, str]]

    @property
    def counts(self) -> Counter[str]:
        """How many cases behaved how."""
        return Counter(behaviour for behaviour, _ in self.behaviours.values())

    @property
    def non_strict(self) -> list[str]:
        """The cases that did what a SHOULD advises against, in order."""
        return sorted((case for case, found in self.behaviours.items() if "NON-STRICT" in found), key=_in_order)

    def failures(self, role: str, expected: int) -> list[str]:
        """What went wrong; a case that did not run counts as that, or a test suite that crashed would pass."""
        found = [
            f"{role}: case {case} is {behaviour}, its close {close}"
            for case, (behaviour, close) in sorted(self.behaviours.items(), key=lambda item: _in_order(item[0]))
            if not {behaviour, close} <= PASSED
        ]
        surprising = [case for case in self.non_strict if case not in MAY_BE_NON_STRICT]
        if surprising:
            found.append(f"{role}: {ranges(surprising)} should be strict")
        if len(self.behaviours) != expected:
            found.append(f"{role}: {len(self.behaviours)} of {expected} cases are in the report")
        return found


def read_report(folder: Path, agent: str) -> Report:
    """The report on `agent` that Autobahn wrote into `folder`; an empty one if it wrote none."""
    path = folder / "index.json"
    cases: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text()).get(agent, {}) if path.exists() else {}
    return Report({case: (found["behavior"], found["behaviorClose"]) for case, found in cases.items()})


def ranges(cases: Sequence[str]) -> str:
    """`cases` for people: those of one group that follow each other as one range."""
    groups: list[list[str]] = []
    for case in cases:
        if groups and _in_order(groups[-1][-1])[:-1] == _in_order(case)[:-1] and _follows(groups[-1][-1], case):
            groups[-1].append(case)
        else:
            groups.append([case])
    return ", ".join(group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups)


def _follows(before: str, case: str) -> bool:
    return _in_order(case)[-1] == _in_order(before)[-1] + 1


def _in_order(case: str) -> tuple[int, ...]:
    return tuple(int(part) for part in case.split("."))
