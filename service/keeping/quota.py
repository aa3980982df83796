"""How much of ElevenLabs' quota is used: read every ten minutes by one worker, told to the metrics by all.

The key decision: what was read is the job's result, so it lies in the database, and every worker tells the same
number whoever has read it. A reading that fails leaves things as they are: the next one comes in ten minutes, and
whoever needs the quota before that is told by ElevenLabs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import CapacityError, SecretsUnavailableError, UpstreamError
from service.keeping.run import Run
from service.metrics_elevenlabs import quota_is

log = structlog.get_logger(__name__)


class QuotaReading:
    """Reads the quota of `elevenlabs`."""

    def __init__(self, elevenlabs: ElevenLabsService) -> None:
        self._elevenlabs = elevenlabs
        self._last: dict[str, Any] = {}

    def run(self, run: Run) -> dict[str, Any]:
        """Read it once; the result is what `tell_quota` takes."""
        run.step()
        try:
            quota = self._elevenlabs.fetch_quota()
        except (UpstreamError, CapacityError, SecretsUnavailableError) as exc:
            log.info("the quota could not be read", error=type(exc).__name__)
            return self._last
        self._last = {"used": quota.used, "limit": quota.limit}
        return self._last


def tell_quota(result: Mapping[str, Any] | None) -> None:
    """Tell the metrics what the last reading has brought, if it has brought anything."""
    if result and {"used", "limit"} <= result.keys():
        quota_is(used=int(result["used"]), limit=int(result["limit"]))
