"""How good or bad it is what a word says: by this its colour and its sign are chosen, on whichever page it stands.

The kinds are those of `templates/parts.html`: good, warn, bad, off, info.
"""

from __future__ import annotations

from collections.abc import Mapping

Kinds = Mapping[str, str]

VERDICTS: Kinds = {"primary": "good", "mixed": "warn", "fallback": "warn", "nobody": "bad", "unknown": "bad"}
MARKS: Kinds = {"serving": "good", "draining": "warn", "maintenance": "off"}
STANDINGS: Kinds = {
    "ready": "good", "ramping": "warn", "probing": "warn", "down": "bad", "drain": "warn", "maintenance": "off"
}  # fmt: skip
MODES: Kinds = {"auto": "good", "forced_primary": "warn", "forced_fallback": "warn", "disabled": "bad"}
PROBES: Kinds = {"good": "good", "bad": "bad", "unclear": "warn"}
DEFECTS: Kinds = {
    "silent": "bad", "truncated": "bad", "noise": "bad", "wrong_rate": "bad",
    "clipped": "warn", "gaps": "warn", "quiet": "warn",
}  # fmt: skip
SECRETS: Kinds = {"fresh": "good", "stale": "warn", "missing": "bad", "expired": "bad"}
