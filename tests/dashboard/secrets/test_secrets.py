"""The secrets' page: how good they are on each worker, in sum, and read again when somebody asks."""

from __future__ import annotations

import time

from dashboard.sight.secrets_fleet import look_at_secrets
from service.orders import OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from service.storage import AdminRole, AuditFilter

GOOD = {
    "source": "vault",
    "state": "fresh",
    "version": 7,
    "names": ["elevenlabs_api_key"],
    "read_at": 1_000.0,
    "age_seconds": 3.0,
    "lease_ends_at": 5_000.0,
    "last_error": None,
    "last_cause": None,
    "failed_at": None,
}
SEALED = {
    **GOOD,
    "state": "stale",
    "read_at": 900.0,
    "lease_ends_at": 4_000.0,
    "last_error": "Vault is <sealed>",
    "last_cause": "sealed",
    "failed_at": 950.0,
}


def test_the_sum_is_the_worst_of_each(dashboard):
    reports = [
        dashboard.report(worker="1", secrets=GOOD),
        dashboard.report(worker="2", secrets=SEALED),
        dashboard.report(worker="3", secrets={**GOOD, "version": 6, "failed_at": 940.0, "last_error": "slow"}),
        dashboard.report(worker="4", secrets=None),
    ]
    sight = look_at_secrets(reports)
    assert (sight.state, sight.read_at, sight.lease_ends_at) == ("stale", 900.0, 4_000.0)
    assert (sight.versions, sight.silent) == ((6, 7), ("node-1/4",))
    assert [worker.differs for worker in sight.workers] == [False, False, True]
    assert [worker.is_failing for worker in sight.workers] == [False, True, False]
    assert sight.newest_failure.last_cause == "sealed"


def test_a_state_that_we_do_not_know_is_the_worst(dashboard):
    reports = [
        dashboard.report(worker="1", secrets={**GOOD, "state": "expired"}),
        dashboard.report(worker="2", secrets={**GOOD, "state": "melted"}),
    ]
    assert look_at_secrets(reports).state == "melted"
    assert look_at_secrets([]).state is None


def test_the_page_says_what_is_wrong_what_it_means_and_where_to_read(dashboard):
    dashboard.report(worker="1", secrets={**GOOD, "read_at": time.time()})
    dashboard.report(worker="2", secrets={**SEALED, "read_at": time.time() - 90, "failed_at": time.time()})
    shown = dashboard.client(AdminRole.VIEWER).get("/secrets").text
    assert "Vault is &lt;sealed&gt;" in shown
    assert "Do not restart, deploy or scale up" in shown
    assert "<cite>Vault is sealed</cite>" in shown
    assert 'data-testid="refresh"' not in shown  # a viewer looks
    told = dashboard.client(AdminRole.VIEWER).get("/api/secrets").json
    assert (told["state"], len(told["workers"]), told["redis_error"]) == ("stale", 2, None)


def test_without_a_worker_the_page_says_what_to_look_at(dashboard):
    assert "VOCERO_REDIS_URL" in dashboard.client().get("/secrets").text


def test_reading_them_now_tells_which_worker_has(dashboard, monkeypatch):
    monkeypatch.setattr("dashboard.web.secrets_page.REFRESH_SECONDS", 1.0)
    dashboard.report(worker="1", secrets=GOOD)
    dashboard.report(worker="2", secrets=GOOD)
    deeds = {OrderKind.SECRETS_REFRESH: Deed(lambda order: Done("Version 8.", is_done=True))}
    taker = OrderTaker(dashboard.store, worker="node-1/1", deeds=deeds)
    taker.start()
    try:
        answer = dashboard.client(AdminRole.OPERATOR).post("/api/secrets/refresh").json
    finally:
        taker.close()
    assert answer["answers"] == [{"worker": "node-1/1", "is_done": True, "text": "Version 8."}]
    assert answer["silent"] == ["node-1/2"]
    assert len(dashboard.parts.audit.search(AuditFilter(action="secrets.refresh")).items) == 1
    assert dashboard.client(AdminRole.VIEWER).post("/api/secrets/refresh").status_code == 403
