"""What a worker makes of the maintenance key, whatever stands in it."""

from __future__ import annotations

import pytest

from service.errors import MaintenanceError, SchemaError
from service.maintenance import DRAIN_SECONDS, Maintenance, MaintenanceWatch, read_maintenance

SAID = Maintenance(reason="rollback to 0005", by="ana@ops", since=1000.5, drain_seconds=0.0)


class RecordingDoors:
    """Doors that tell what was done to them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def shut(self) -> None:
        self.done.append("shut")

    def reopen(self) -> None:
        self.done.append("reopen")

    def end_all(self, code: int, reason: str) -> None:
        self.done.append(f"end {code}")


def test_what_is_written_is_what_is_read() -> None:
    assert read_maintenance(SAID.as_json()) == SAID
    assert read_maintenance(None) is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"back at noon", "back at noon"),
        (b"1", "1"),
        (b"", "maintenance"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"reason": null, "since": "yesterday", "drain_seconds": -1}', "maintenance"),
        (b'["a"]', "['a']"),
    ],
)
def test_a_value_that_somebody_wrote_by_hand_counts_too(raw: bytes, reason: str) -> None:
    found = read_maintenance(raw)
    assert found == Maintenance(reason=reason, by="unknown", since=0.0, drain_seconds=DRAIN_SECONDS)


def test_a_worker_shuts_its_doors_once_and_reopens_them_once() -> None:
    doors = RecordingDoors()
    watch = MaintenanceWatch(doors)
    watch.check()
    for raw in (None, SAID.as_json(), SAID.as_json()):
        watch.observe(raw)
    assert watch.current == SAID
    with pytest.raises(MaintenanceError) as refused:
        watch.check()
    assert (refused.value.http_status, refused.value.close_code, refused.value.code) == (503, 1013, "maintenance")
    watch.observe(None)
    watch.observe(None)
    watch.check()
    assert doors.done == ["shut", "reopen"]


def test_the_doors_stay_shut_on_a_schema_that_does_not_fit() -> None:
    doors = RecordingDoors()
    fits = False

    def check_schema() -> None:
        if not fits:
            raise SchemaError("the database has schema 0004, this version needs 0006")

    watch = MaintenanceWatch(doors, check_schema=check_schema)
    watch.observe(SAID.as_json())
    for _ in range(2):
        watch.observe(None)
        assert watch.current is not None
        assert "schema 0004" in watch.current.reason
    fits = True
    watch.observe(None)
    assert watch.current is None
    assert doors.done == ["shut", "reopen"]


def test_conversations_are_ended_when_their_time_is_over_and_not_before() -> None:
    doors = RecordingDoors()
    watch = MaintenanceWatch(doors)
    watch.enforce()
    watch.observe(Maintenance("why", "who", 0.0, drain_seconds=3600.0).as_json())
    watch.enforce()
    assert doors.done == ["shut"]
    watch.observe(Maintenance("why", "who", 0.0, drain_seconds=0.0).as_json())  # whoever waits may hurry them
    watch.enforce()
    assert doors.done == ["shut", "end 1012"]
