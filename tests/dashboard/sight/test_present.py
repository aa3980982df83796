"""What is made of the workers' reports: who speaks, pools and slots in sum, nodes, and banners."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from dashboard.sight.banners import BannerKind, see_banners
from dashboard.sight.breakers import see_breakers
from dashboard.sight.limiters import see_limiters
from dashboard.sight.nodes import Mark, see_fleet
from dashboard.sight.pools import see_pools
from dashboard.sight.speaking import Verdict, Voice, see_voices
from dashboard.sight.watch import Snapshot
from service.maintenance import Maintenance
from service.pool_reports import WorkerReport
from service.storage import Capability, Override, OverrideMode
from tests.dashboard.workers import breaker, limiter, pool_stats, worker

AUTO: Mapping[Capability, OverrideMode] = {}
OPEN = (breaker("conversation", state="open"), breaker("speech"))


def _voice(*workers: WorkerReport, modes: Mapping[Capability, OverrideMode] = AUTO) -> Voice:
    return see_voices(workers, modes)[0]


def test_the_primary_speaks_when_all_is_well() -> None:
    voice = _voice(worker(1), worker(2))
    assert (voice.verdict, voice.speaking, voice.newcomers) == (Verdict.PRIMARY, {"elevenlabs": 12}, ("elevenlabs",))


def test_while_people_still_talk_to_the_primary_and_newcomers_get_the_backup_both_speak() -> None:
    voice = _voice(worker(1, breakers=OPEN))
    assert (voice.verdict, voice.newcomers) == (Verdict.MIXED, ("local",))


def test_the_backup_speaks_when_the_breaker_is_open_and_nobody_is_left_with_the_primary() -> None:
    assert _voice(worker(1, breakers=OPEN, speaking={"local": 6})).verdict is Verdict.FALLBACK


def test_a_ramp_gives_newcomers_either() -> None:
    voice = _voice(worker(1, breakers=(breaker("conversation", state="ramp"),), speaking={"local": 6}))
    assert (voice.verdict, voice.newcomers) == (Verdict.MIXED, ("elevenlabs", "local"))


def test_with_every_provider_left_alone_the_first_is_asked_all_the_same() -> None:
    alone = {"conversation": ("elevenlabs",)}
    assert _voice(worker(1, breakers=OPEN, chains=alone)).newcomers == ("elevenlabs",)


@pytest.mark.parametrize(
    ("mode", "newcomers"),
    [
        (OverrideMode.FORCED_PRIMARY, ("elevenlabs",)),
        (OverrideMode.FORCED_FALLBACK, ("local",)),
        (OverrideMode.DISABLED, ()),
    ],
)
def test_an_override_says_who_newcomers_get_whatever_the_breaker_thinks(
    mode: OverrideMode, newcomers: tuple[str, ...]
) -> None:
    voice = _voice(worker(1, breakers=OPEN, speaking={}), modes={Capability.CONVERSATION: mode})
    assert voice.newcomers == newcomers
    assert (voice.verdict is Verdict.NOBODY) == (not newcomers)


def test_without_workers_nobody_knows_who_speaks() -> None:
    assert {voice.verdict for voice in see_voices((), AUTO)} == {Verdict.UNKNOWN}


def test_speech_is_told_by_its_own_breaker() -> None:
    speech = see_voices((worker(1, breakers=(breaker("speech", state="open"),)),), AUTO)[1]
    assert (speech.capability, speech.verdict, speech.speaking) == (Capability.SPEECH, Verdict.FALLBACK, {})


def test_a_pool_is_summed_over_its_workers_and_the_longest_wait_is_the_longest() -> None:
    slow = pool_stats("speech", wait_seconds_recent_max=1.5, waiting=3, requests=13, pending=3)
    (pool,) = see_pools((worker(1, pools=(slow,)), worker(2, pools=(pool_stats("speech", min_idle=0),))))
    total = pool.total
    assert (total.stats.size, total.stats.waiting, total.stats.wait_seconds_recent_max) == (6, 3, 1.5)
    assert (total.reused_share, total.mean_wait_seconds, total.failed_share) == (0.8, 0.05, 0.0)
    assert pool.sizes == ((0, 4), (2, 4))
    assert [share.worker for share in pool.workers] == ["node-1/1", "node-1/2"]


def test_a_pool_that_has_done_nothing_has_no_shares() -> None:
    idle = pool_stats("speech", requests=0, served=0, reused=0, opened=0, returned=0)
    (pool,) = see_pools((worker(1, pools=(idle,)),))
    assert (pool.total.reused_share, pool.total.mean_wait_seconds, pool.total.mean_use_seconds) == (None, None, None)


def test_the_accounts_slots_are_told_by_who_heard_last_and_counters_are_summed() -> None:
    older = worker(1, reported_at=10.0, limiters=(limiter("agents", held=2, refusals=1),))
    newer = worker(2, reported_at=11.0, limiters=(limiter("agents", held=9, waiting={"live_turn": 2, "other": 1}),))
    (slots,) = see_limiters((newer, older))
    assert (slots.held, slots.headroom, slots.queue, slots.total.refusals, slots.total.grants) == (9, 1, 3, 1, 200)
    assert slots.waiting == {"live_turn": 2, "greeting": 0, "other": 1}


def test_a_worker_on_its_static_share_is_not_believed_about_the_account() -> None:
    degraded = worker(1, reported_at=12.0, limiters=(limiter("agents", cap=5, held=0, degraded=True),))
    hearing = worker(2, reported_at=11.0, limiters=(limiter("agents", held=7),))
    (slots,) = see_limiters((degraded, hearing))
    assert (slots.cap, slots.held, slots.degraded_workers) == (10, 7, 1)
    (shares,) = see_limiters((degraded, worker(2, limiters=(limiter("agents", cap=5, degraded=True),))))
    assert (shares.cap, shares.held, shares.degraded_workers) == (10, 2, 2)


def test_breakers_that_differ_show_the_worst_and_how_many_share_it() -> None:
    fault = breaker("conversation", state="open", probe_at=50.0, last_fault="timeout", last_fault_at=40.0, calls=20,
                    failure_share=1.0)  # fmt: skip
    (seen,) = see_breakers((worker(1, breakers=(fault,)), worker(2, breakers=(breaker("conversation"),))))
    assert (seen.state, seen.states, seen.probe_at) == ("open", {"open": 1, "closed": 1}, 50.0)
    assert (seen.last_fault, seen.calls, seen.failure_share) == ("timeout", 40, 0.5)


def test_nodes_have_their_workers_loads_and_marks() -> None:
    fleet = see_fleet((worker(5, conversations=400), worker(1, draining=True), worker(2, maintenance=True)))
    assert [node.node for node in fleet.nodes] == ["node-1", "node-2"]
    assert [each.mark for each in fleet.nodes[0].workers] == [Mark.DRAINING, Mark.MAINTENANCE]
    assert (fleet.conversations, fleet.capacity, fleet.nodes[1].load) == (412, 2400, 0.5)


def test_a_worker_of_an_earlier_version_is_shown_with_what_it_tells() -> None:
    fleet = see_fleet((WorkerReport(node="n", worker="1", reported_at=1.0, pools=(), conversations=3),))
    (seen,) = fleet.nodes[0].workers
    assert (seen.load, seen.started_at, seen.mark, fleet.versions) == (None, None, Mark.SERVING, {"?": 1})


def test_there_is_no_banner_when_all_is_well() -> None:
    assert _banners(worker(1), worker(2)) == []


def test_each_thing_that_everybody_must_know_has_a_banner() -> None:
    maintenance = Maintenance(reason="new disks", by="ada", since=5.0)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    ordered = Override(
        Capability.SPEECH, OverrideMode.DISABLED, 4, reason="costs", author="eva", set_at=until, expires_at=until
    )
    workers = (
        worker(1, draining=True, sandbox=True, dependencies={"redis": "TimeoutError", "database": "ok"}),
        worker(2, version="0.2.0", maintenance=True, limiters=(limiter("agents", degraded=True),)),
    )
    snapshot = Snapshot(at=9.0, workers=workers, maintenance=maintenance, database_error="OperationalError")
    fleet = see_fleet(workers)
    found = {banner.kind: banner for banner in see_banners(snapshot, fleet, see_limiters(workers), [ordered])}
    assert set(found) == set(BannerKind) - {BannerKind.REDIS, BannerKind.NO_WORKERS}
    assert (found[BannerKind.OVERRIDE].level, found[BannerKind.OVERRIDE].subject) == ("bad", "speech.disabled")
    assert found[BannerKind.OVERRIDE].until == until.timestamp()
    assert (found[BannerKind.MAINTENANCE].text, found[BannerKind.MAINTENANCE].count) == ("new disks", 1)
    assert (found[BannerKind.WORKERS_WITHOUT].subject, found[BannerKind.WORKERS_WITHOUT].text) == (
        "redis",
        "TimeoutError",
    )


def test_an_outage_of_redis_does_not_claim_that_there_are_no_workers() -> None:
    snapshot = Snapshot(at=0.0, redis_error="ConnectionError")
    kinds = [banner.kind for banner in see_banners(snapshot, see_fleet(()), (), ())]
    assert kinds == [BannerKind.REDIS]


def _banners(*workers: WorkerReport) -> list[BannerKind]:
    seen = see_banners(Snapshot(at=1.0, workers=workers), see_fleet(workers), see_limiters(workers), ())
    return [banner.kind for banner in seen]
