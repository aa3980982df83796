"""Workers, which note and drain, killed at any moment: what Redis has taken is in the database, once."""

from __future__ import annotations

from pathlib import Path

from service.storage import Database
from tests.ledgers.killing import kill_at_random

SEED = 11
KILLS = 5


def test_workers_that_are_killed_lose_nothing_that_redis_had_and_double_nothing(
    redis_url: str, migrated_url: str, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "appended"
    folder.mkdir()
    verdict = kill_at_random(redis_url, migrated_url, folder, kills=KILLS, seed=SEED)
    assert verdict.wrong == []
    assert verdict.appended > 50
