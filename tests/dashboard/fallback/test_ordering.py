"""The switch by its API: every mode, who may, for how long, and two admins at the same time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.storage import AdminRole, AuditFilter, Capability, OverrideMode, Overrides
from tests.dashboard.dashboards import Client, Dashboard
from tests.dashboard.fallback.conftest import CHAINS

PATH = "/api/fallback/conversation"


def wanted(mode: str = "forced_fallback", **others: Any) -> dict[str, Any]:
    return {"mode": mode, "reason": "a drill", "seconds": 900, "version": 0, **others}


def error_of(answer: Any) -> dict[str, Any]:
    error: dict[str, Any] = answer.json["error"]
    return error


@pytest.fixture
def operator(fleet: Dashboard) -> Client:
    client: Client = fleet.client(AdminRole.OPERATOR)
    return client


@pytest.mark.parametrize("mode", ["forced_primary", "forced_fallback", "disabled"])
def test_an_operator_orders_each_mode_for_a_while_and_it_is_in_the_audit(
    fleet: Dashboard, operator: Client, mode: str
) -> None:
    before = datetime.now(UTC)
    made = operator.post(PATH, wanted(mode)).json["override"]
    assert (made["mode"], made["version"], made["author"]) == (mode, 1, "operator")
    kept = Overrides(fleet.parts.database).get(Capability.CONVERSATION)
    assert kept.mode is OverrideMode(mode)
    assert kept.expires_at is not None
    assert timedelta(seconds=899) < kept.expires_at - before < timedelta(seconds=960)
    entry = fleet.parts.audit.search(AuditFilter(action="override.set")).items[0]
    assert (entry.actor, entry.subject, entry.address) == ("operator", "conversation", "127.0.0.1")
    assert entry.request_id


def test_automatic_again_has_no_end_and_needs_its_reason(fleet: Dashboard, operator: Client) -> None:
    operator.post(PATH, wanted())
    assert error_of(operator.post(PATH, wanted("auto", reason=" ", version=1)))["param"] == "reason"
    made = operator.post(PATH, {"mode": "auto", "reason": "the drill is over", "version": 1}).json["override"]
    assert (made["mode"], made["expires_at"]) == ("auto", None)


def test_who_comes_second_is_told_what_the_first_did(operator: Client) -> None:
    operator.post(PATH, wanted(reason="the first one"))
    refused = operator.post(PATH, wanted("forced_primary"))
    assert refused.status_code == 409
    assert error_of(refused)["code"] == "version_conflict"
    for part in ("operator", "Fallback only", "the first one"):
        assert part in error_of(refused)["message"]
    assert refused.json["override"]["version"] == 1
    assert operator.post(PATH, wanted("forced_primary", version=1)).status_code == 200


WRONG = (
    ("mode", "sometimes"), ("mode", None), ("reason", "no"), ("reason", "x" * 501), ("reason", 7), ("seconds", 59),
    ("seconds", 86_401), ("seconds", "900"), ("seconds", True), ("version", -1), ("version", "0"), ("version", None),
)  # fmt: skip


def test_what_is_missing_or_out_of_bounds_is_refused_by_its_name(operator: Client) -> None:
    for field, value in WRONG:
        refused = operator.post(PATH, wanted(**{field: value}))
        assert (refused.status_code, error_of(refused)["param"]) == (422, field), value


def test_until_further_notice_is_for_admins_alone(fleet: Dashboard, operator: Client) -> None:
    refused = operator.post(PATH, wanted(seconds=None))
    assert (refused.status_code, error_of(refused)["code"]) == (403, "unlimited_not_allowed")
    left_out = {name: value for name, value in wanted().items() if name != "seconds"}
    assert fleet.client().post(PATH, left_out).status_code == 422
    assert fleet.client().post(PATH, wanted(seconds=None)).json["override"]["expires_at"] is None


def test_to_switch_all_off_the_password_is_shown_again(fleet: Dashboard) -> None:
    client = fleet.client(AdminRole.OPERATOR, confirmed=False)
    assert error_of(client.post(PATH, wanted("disabled")))["code"] == "confirmation_needed"
    assert client.post(PATH, wanted("forced_fallback")).status_code == 200


def test_a_viewer_orders_nothing_and_tests_nothing(fleet: Dashboard) -> None:
    viewer = fleet.client(AdminRole.VIEWER)
    assert viewer.post(PATH, wanted()).status_code == 403
    assert viewer.post("/api/fallback/canary", {"provider": "elevenlabs", "capability": "speech"}).status_code == 403
    page = viewer.get("/fallback").text
    assert "data-order" not in page
    assert "data-canary" not in page


def test_a_fallback_that_is_not_there_cannot_be_forced(dashboard: Dashboard) -> None:
    dashboard.report(chains=dict.fromkeys(CHAINS, ("elevenlabs",)))
    refused = dashboard.client().post(PATH, wanted())
    assert (refused.status_code, error_of(refused)["code"]) == (409, "no_fallback")
    assert "refused" in dashboard.client().get(f"{PATH}/preview?mode=forced_fallback").json["text"]


def test_an_order_that_has_expired_is_over(fleet: Dashboard, operator: Client) -> None:
    fleet.parts.overrides.set(
        Capability.CONVERSATION, OverrideMode.FORCED_FALLBACK, reason="short", author="ana", expected_version=0,
        seconds=0.05,
    )  # fmt: skip

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = operator.get("/api/fallback").json["capabilities"][0]
        return found

    wait_until(lambda: seen()["is_expired"], what="the order's end")
    assert seen()["mode"] == "auto"
    assert "Ended by itself" in operator.get("/fallback").text


@pytest.mark.parametrize("capability", ["video", "canary"])
def test_a_capability_that_there_is_not_is_not_found(operator: Client, capability: str) -> None:
    assert operator.get(f"/api/fallback/{capability}/preview?mode=auto").status_code == 404
