"""A promise: what is ordered in the dashboard, every worker of every node obeys, and it ends by itself everywhere.

The two services have their workers, and nothing in common but Redis and the database, as nodes have; they are started
once for all that is shown with them.
"""

from __future__ import annotations

from typing import Any

from scripts.launcher.waiting import wait_until
from service.storage import AdminRole, Capability, OverrideMode
from tests.conftest import StartService
from tests.dashboard.dashboards import Dashboard

LIMIT = 30.0


def test_two_nodes_obey_an_order_and_go_back_when_it_has_ended_and_one_lets_a_provider_be_heard(
    dashboard: Dashboard, start_service: StartService
) -> None:
    settings = dashboard.parts.settings
    shared = {
        "VOCERO_REDIS_URL": settings.redis_url,
        "VOCERO_DATABASE_URL": settings.database_url.get_secret_value(),
        "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
        "VOCERO_FALLBACK_EARS": "false",
    }
    for _node in range(2):
        start_service(**shared)
    operator = dashboard.client(AdminRole.OPERATOR)

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = operator.get("/api/fallback").json["capabilities"][0]
        return found

    wait_until(lambda: seen()["providers"] and seen()["providers"][0]["workers"] == 2, LIMIT, "both nodes' reports")
    assert [each["standing"] for each in seen()["providers"]] == ["ready", "ready"]

    wanted = {"mode": "forced_fallback", "reason": "a drill", "seconds": 60, "version": 0}
    assert operator.post("/api/fallback/conversation", wanted).status_code == 200
    wait_until(lambda: seen()["workers"] == {"all": 2, "obeying": 2, "behind": [], "silent": 0}, LIMIT, "all workers")
    assert [each["standing"] for each in seen()["providers"]] == ["maintenance", "ready"]

    # A minute is the least that can be ordered there, and too long for a test.
    dashboard.parts.overrides.set(
        Capability.CONVERSATION, OverrideMode.FORCED_FALLBACK, reason="its end", author="ana", expected_version=1,
        seconds=1.0,
    )  # fmt: skip
    wait_until(lambda: seen()["is_expired"], LIMIT, "the end of the order")
    wait_until(lambda: seen()["workers"]["obeying"] == 2, LIMIT, "all workers back")
    assert [each["standing"] for each in seen()["providers"]] == ["ready", "ready"]

    asked = operator.post("/api/fallback/canary", {"provider": "elevenlabs", "capability": "speech"}).json
    path = f"/api/fallback/canary/{asked['order_id']}"
    wait_until(lambda: operator.get(path).json["state"] != "waiting", LIMIT, "the canary")
    told = operator.get(path).json
    assert (told["state"], told["details"]["bytes"] > 0) == ("done", True), told
    assert operator.get(told["sound"]).data[:4] == b"RIFF"
