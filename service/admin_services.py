"""The part of the composition root that concerns admins: what this worker tells of itself, and what it does for them.

The key decision: what is told is read from the parts when it is time to tell, once a second, in the reporter's own
thread; no part knows that it is looked at, and a request or a frame pays nothing for it.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import redis

from service.config import Settings
from service.conversation.legs import LOCAL
from service.conversation.registry import ConversationRegistry
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.gauges import UpstreamGauges
from service.fallback.audible_canaries import make_audible_canaries
from service.fallback.backup import Backup
from service.fallback.fallback_service import FallbackService
from service.leg_services import PRIMARY, SECOND
from service.loop_watch import LoopWatch
from service.maintenance import MaintenanceWatch
from service.minute_history import MinuteHistory
from service.minute_tally import TALLY
from service.order_deeds import make_deeds
from service.orders.taker import OrderTaker
from service.pool_reports import PoolReporter, WorkerState, worker_name
from service.readiness import Readiness
from service.secrets_manager import SecretsManager
from service.storage import ApiKeys, Capability


class AdminView:
    """The parts of this worker that admins see. `name` is "node/worker", by which they know it."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: redis.Redis,
        elevenlabs: ElevenLabsService,
        second: ElevenLabsService | None,
        backup: Backup | None,
        fallback: FallbackService,
        conversations: ConversationRegistry,
        secrets: SecretsManager,
    ) -> None:
        self.settings = settings
        self.store = store
        self.elevenlabs = elevenlabs
        self.accounts = {PRIMARY: elevenlabs} | ({} if second is None else {SECOND: second})
        self.backup = backup
        self.conversations = conversations
        self.secrets = secrets
        self.node, self.worker = socket.gethostname(), str(os.getpid())
        self._fallback = fallback
        chain = fallback.chain
        # A second account leads conversations; speech goes from the first one to the backup (`make_backup_speech`).
        speech = tuple(name for name in chain if name in {PRIMARY, LOCAL})
        self._chains = {Capability.CONVERSATION.value: chain, Capability.SPEECH.value: speech}
        self._started_at = time.time()

    @property
    def name(self) -> str:
        """As orders call it."""
        return worker_name(self.node, self.worker)

    def state(self, readiness: Readiness, loop_watch: LoopWatch) -> WorkerState:
        """How this worker is now; asks nobody."""
        limiters = self.elevenlabs.slot_stats()
        breakers = [each for each in self._fallback.breakers() if each.provider in self._chains[each.capability]]
        return WorkerState(
            draining=self.conversations.is_draining,
            capacity=self.conversations.capacity,
            started_at=self._started_at,
            loop_lag_seconds=round(loop_watch.recent_lag, 4),
            dependencies=readiness.last().dependencies,
            speaking=self.conversations.speaking(),
            limiters=tuple(_plain(dataclasses.asdict(each)) for each in limiters.values()),
            breakers=tuple(breakers),
            secrets=_plain(dataclasses.asdict(self.secrets.status())),
            chains=self._chains,
            modes={each.value: version for each, version in self._fallback.board.obeyed().items()},
            sandbox=self.settings.sandbox,
        )


def make_pool_reporter(
    view: AdminView,
    *,
    maintenance: MaintenanceWatch,
    readiness: Readiness,
    loop_watch: LoopWatch,
    writes_pending: Callable[[], int],
) -> PoolReporter:
    """What tells of this worker in Redis once a second, and adds to the minutes of all workers."""
    return PoolReporter(
        view.store,
        node=view.node,
        worker=view.worker,
        pools=view.elevenlabs.pool_stats,
        maintenance=maintenance,
        conversations=lambda: len(view.conversations),
        writes_pending=writes_pending,
        state=lambda: view.state(readiness, loop_watch),
        tell=UpstreamGauges(list(view.accounts.values())).tell,
        add=MinuteHistory(view.store, TALLY).tell,
    )


def make_order_taker(view: AdminView, *, api_keys: ApiKeys) -> OrderTaker:
    """What takes the orders that are for this worker."""
    deeds = make_deeds(
        elevenlabs=view.elevenlabs,
        conversations=view.conversations,
        secrets=view.secrets,
        api_keys=api_keys,
        canaries=make_audible_canaries(view.settings, view.accounts, view.backup),
    )
    return OrderTaker(view.store, worker=view.name, deeds=deeds)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With names in place of numbers: JSON's keys are texts, and a priority's number says nothing."""
    return {
        name: {key.name.lower(): count for key, count in value.items()} if name == "waiting" else value
        for name, value in fields.items()
    }
