"""The service's own role on PostgreSQL, which owns nothing, has the rights that retention and erasure need."""

from __future__ import annotations

from datetime import timedelta

import redis

from service.keeping.erasure import Erased, Erasure, reapply_tombstones
from service.keeping.retention import Periods, Retention
from service.keeping.run import Run
from service.storage import Database, SubjectKind
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.integration.keeping.kept import counts, ids, keep
from tests.unit.storage.test_grants import owner_url, role, service  # noqa: F401 (fixtures)

DAY = timedelta(days=1)
QUICK = Run(pause_seconds=0.0)


def test_the_services_role_prunes_erases_and_erases_again(service: Database, store: redis.Redis) -> None:  # noqa: F811
    now = TombstoneUpkeep(service).now()
    keep(service, "old", at=now - 400 * DAY)
    keep(service, "ana", at=now - DAY, user_id="ana")
    keep(service, "ben", at=now - DAY, user_id="ben")
    periods = Periods(transcripts=30 * DAY, conversations=365 * DAY, audit=999 * DAY, tombstones=400 * DAY)
    assert Retention(service, store, periods=periods).run(QUICK)["conversations"] == 1
    erasure = Erasure(service, store, settle_seconds=0.0)
    order = erasure.request(SubjectKind.USER, "ana", by="ana")
    assert erasure.carry_out(order, "ana", QUICK) == Erased(1, 0, 2)
    assert reapply_tombstones(service, store, keep=400 * DAY).erased == Erased(0, 0, 2)
    later = Retention(service, store, periods=periods, now=lambda: now + 500 * DAY)
    assert ids(service) == {"ben"}
    assert later.run(QUICK)["tombstones"] == 1  # the user's stays: ElevenLabs has not confirmed
    assert sum(counts(service).values()) == 0
