"""`python -m scripts.api_keys`: what it makes, what it shows, and what it refuses."""

from __future__ import annotations

import pytest

from migrations import runner
from scripts import api_keys as command_line
from service.storage import ApiKeyLimits, ApiKeys, ApiScope, Database, open_database


@pytest.fixture
def kind() -> str:
    """It is the same whatever the database is."""
    return "sqlite"


def test_a_key_is_made_with_its_limits_and_listed_with_them(
    migrated_url: str, database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", migrated_url)
    monkeypatch.setenv("ELEVENLABS_API_KEY", "x")
    assert command_line.main(["create", "plain"]) == 0
    bounds = ["--scope", "speech", "--concurrency", "3", "--characters-a-day", "5000"]
    assert command_line.main(["create", "shop", *bounds]) == 0
    key = capsys.readouterr().out.splitlines()[2].split()[1]
    made = ApiKeys(database).verify(key)
    assert made is not None
    assert made.limits == ApiKeyLimits(frozenset({ApiScope.SPEECH}), 3, 5000)
    assert command_line.main(["list"]) == 0
    plain, limited = capsys.readouterr().out.splitlines()
    assert plain.endswith("  plain")
    assert limited.endswith("  shop  (speech, 3 at once, 5000 characters a day)")


def test_limits_that_cannot_be_kept_or_are_of_no_use_are_one_line(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    monkeypatch.setenv("ELEVENLABS_API_KEY", "x")
    runner.upgrade(empty_url, "0006")
    assert command_line.main(["create", "shop", "--concurrency", "0"]) == 1
    assert command_line.main(["create", "shop", "--concurrency", "1"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "requests at the same time: from 1 to 100000, not 0",
        "Scopes and limits of keys need schema 0007; run: python -m migrations upgrade 0007",
    ]
    database = open_database(empty_url)
    assert ApiKeys(database).list_all() == []
    database.close()
