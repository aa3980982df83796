"""Which version the dashboard is: told to who is signed in, and to nobody else."""

from __future__ import annotations

from service import __version__
from service.storage.schema import SCHEMA_REVISION
from tests.dashboard.dashboards import Dashboard


def test_who_is_signed_in_sees_version_and_schema(dashboard: Dashboard) -> None:
    browser = dashboard.client()
    assert browser.get("/version").json == {
        "version": __version__,
        "schema": {"code": [SCHEMA_REVISION], "database": [SCHEMA_REVISION]},
    }
    assert f'title="Vocero {__version__}, schema {SCHEMA_REVISION}"' in browser.get("/").text


def test_nobody_else_does(dashboard: Dashboard) -> None:
    stranger = dashboard.client(None)
    assert __version__ not in stranger.get("/version").text
    assert stranger.get("/version").status_code in {302, 303, 401}
    assert __version__ not in stranger.get("/login").text
