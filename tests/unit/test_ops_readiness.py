"""What a worker says in its file, and that neither nonsense nor silence nor a full disk deceives who reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from service import metrics_files, ops_readiness
from service.ops_readiness import FRESH_SECONDS, WorkerReadiness

WELL = {"redis": "ok", "database": "ok"}


@pytest.mark.parametrize(
    ("said", "is_ready"),
    [
        (WorkerReadiness(WELL), True),
        (WorkerReadiness({**WELL, "redis": "TimeoutError"}), False),
        (WorkerReadiness(WELL, draining=True), False),
        (WorkerReadiness(WELL, maintenance=""), False),
        (WorkerReadiness(WELL, conversations=10, capacity=10), True),
    ],
)
def test_a_worker_is_ready_if_nothing_is_in_its_way(said: WorkerReadiness, is_ready: bool) -> None:
    assert said.is_ready == is_ready
    assert ops_readiness.together([said])["status"] == ("ok" if is_ready else "unavailable")


def test_what_is_written_is_read_and_the_last_word_counts(tmp_path: Path) -> None:
    first, last = WorkerReadiness(WELL), WorkerReadiness(WELL, maintenance="ünder repair", conversations=3, capacity=9)
    other = WorkerReadiness({**WELL, "redis": "TimeoutError"}, draining=True, code_schema="0006")
    ops_readiness.write(tmp_path, 0, first)
    ops_readiness.write(tmp_path, 1, other)
    ops_readiness.write(tmp_path, 0, last)
    assert ops_readiness.read_all(tmp_path) == [last, other]
    assert len(list(tmp_path.iterdir())) == 2


def test_who_has_been_silent_for_too_long_is_not_believed(tmp_path: Path) -> None:
    now = WorkerReadiness(WELL)
    silent = WorkerReadiness(WELL, said_at=now.said_at - FRESH_SECONDS - 0.01)
    from_before_the_machine_started = WorkerReadiness(WELL, said_at=now.said_at + 1000)
    for place, said in enumerate([silent, now, from_before_the_machine_started]):
        ops_readiness.write(tmp_path, place, said)
    assert ops_readiness.read_all(tmp_path) == [now]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"dependencies": {}, "said_at": "now"}',
        b'{"dependencies": [], "said_at": 1}',
        b'{"dependencies": {"redis": 1}, "said_at": 1}',
        b'{"dependencies": {}, "said_at": 1, "capacity": "many"}',
        b'{"dependencies": {}, "said_at": 1, "from": "another version"}',
        b"\xff" * 5000,
    ],
)
def test_nonsense_is_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "readiness_0.json").write_bytes(content)
    (tmp_path / "readiness_1.json").mkdir()
    assert ops_readiness.read_all(tmp_path) == []


def test_a_long_reason_does_not_make_nonsense_of_a_file(tmp_path: Path) -> None:
    said = WorkerReadiness({"redis": "é" * 10_000, "database": "é" * 10_000}, maintenance="é" * 500)
    ops_readiness.write(tmp_path, 0, said)
    (found,) = ops_readiness.read_all(tmp_path)
    assert found.dependencies["redis"].startswith("ééé")


def test_without_room_for_another_file_the_one_that_is_there_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops_readiness.write(tmp_path, 0, WorkerReadiness({"redis": "a long reason " * 20}))

    def no_room(_file: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    said = WorkerReadiness(WELL)
    ops_readiness.write(tmp_path, 0, said)
    assert ops_readiness.read_all(tmp_path) == [said]
    with pytest.raises(FileNotFoundError):
        ops_readiness.write(tmp_path, 1, said)


def test_of_each_dependency_the_failure_is_told_that_most_workers_have() -> None:
    reasons = ["ok", "TimeoutError", "ConnectionError", "TimeoutError"]
    found = ops_readiness.together([WorkerReadiness({"redis": reason}) for reason in reasons])
    assert found["redis"] == "TimeoutError"
    assert found["dependencies"]["redis"] == {"ok": 1, "failing": 3, "reason": "TimeoutError"}


def test_a_dead_workers_words_go_with_its_gauges_and_all_go_with_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    os.close(metrics_files.make(folder))
    for place in (0, 1, 11):
        ops_readiness.write(folder, place, WorkerReadiness(WELL))
    metrics_files.forget_gauges(folder, 1)
    assert {file.name for file in folder.iterdir()} == {"readiness_0.json", "readiness_11.json"}
    metrics_files.remove(folder)
    assert not folder.exists()


def test_what_lies_there_is_json_that_a_person_can_read_too(tmp_path: Path) -> None:
    ops_readiness.write(tmp_path, 0, WorkerReadiness(WELL))
    assert json.loads((tmp_path / "readiness_0.json").read_text())["dependencies"] == WELL
