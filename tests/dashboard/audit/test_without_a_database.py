"""The database is gone: the pages that live from it say so, and what to do; in the reader's language."""

from __future__ import annotations

from pathlib import Path

from service.storage import AdminRole


def take_the_database_away(dashboard) -> None:
    """As a disk that is gone: what was a file can be opened no more."""
    engine = dashboard.parts.database.engine
    engine.dispose()
    path = Path(engine.url.database)
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    path.mkdir()


def test_pages_say_that_the_database_is_gone_and_nothing_is_changed_meanwhile(dashboard):
    dashboard.report(secrets=None)
    admin, operator = dashboard.client(), dashboard.client(AdminRole.OPERATOR)
    admin.get("/secrets")
    operator.get("/secrets")
    take_the_database_away(dashboard)
    said = {
        "/users": ("users cannot be shown", "no se pueden mostrar los usuarios"),
        "/keys": ("keys cannot be shown", "no se pueden mostrar las claves"),
        "/audit": ("audit cannot be shown", "no se puede mostrar la auditoría"),
    }
    for path, (english, spanish) in said.items():
        assert english in admin.get(path).text
        assert spanish in admin.get(path, headers={"Accept-Language": "es"}).text
    assert operator.get("/secrets").status_code == 200  # workers told of them, not the database
    refused = [
        admin.get("/api/audit"),
        admin.get("/api/audit/export"),
        admin.get("/api/audit/verify"),
        admin.post("/api/keys", {"name": "x"}),
        operator.post("/api/secrets/refresh"),
    ]
    assert {(answer.status_code, answer.json["error"]["code"]) for answer in refused} == {(503, "database_unavailable")}
