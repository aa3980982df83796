"""Whose file is which, and what is removed when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service import metrics_files


@pytest.mark.parametrize(("taken", "free"), [(set(), 0), ({0}, 1), ({1, 2}, 0), ({0, 1, 3}, 2), ({0, 1, 2}, 3)])
def test_a_worker_gets_the_lowest_place_that_is_free(taken: set[int], free: int) -> None:
    assert metrics_files.free_place(taken) == free


def test_the_folder_is_chosen_once_and_not_made_by_that() -> None:
    folder = metrics_files.chosen_folder()
    assert metrics_files.chosen_folder() == folder
    assert folder.parent.is_dir()
    assert not folder.exists()


def test_the_folder_is_for_us_alone_and_never_somebody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.write_text("theirs")
    with pytest.raises(OSError, match="Not a directory"):
        metrics_files.make(folder)
    assert folder.read_text() == "theirs"
    folder = tmp_path / "others"
    os.close(metrics_files.make(folder))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_service_left_is_removed_by_the_next_one_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    names = ("vocero-metrics-killed", "vocero-metrics-in-use", "vocero-metrics-new")
    killed, in_use, new = (tmp_path / name for name in names)
    os.close(metrics_files.make(killed))
    (killed / "counter_0.db").touch()
    descriptors = [metrics_files.make(in_use)]
    (tmp_path / "vocero-metrics-link").symlink_to(tmp_path)
    (tmp_path / "vocero-metrics-file").touch()
    (tmp_path / "theirs.db").touch()
    descriptors.append(metrics_files.make(new))
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {*names[1:], "vocero-metrics-link", "vocero-metrics-file", "theirs.db"}
    for descriptor in descriptors:
        os.close(descriptor)


def test_of_a_worker_that_died_the_gauges_go_and_the_counters_stay(tmp_path: Path) -> None:
    names = ["counter_1.db", "gauge_livemin_1.db", "gauge_livesum_1.db", "gauge_livemin_11.db", "histogram_1.db"]
    for name in names:
        (tmp_path / name).touch()
    metrics_files.forget_gauges(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"counter_1.db", "gauge_livemin_11.db", "histogram_1.db"}


def test_removing_takes_our_files_only_and_does_not_mind_if_there_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    metrics_files.remove(folder)
    folder.mkdir()
    (folder / "counter_0.db").touch()
    (folder / "theirs.txt").touch()
    metrics_files.remove(folder)
    assert [path.name for path in folder.iterdir()] == ["theirs.txt"]
    (folder / "theirs.txt").unlink()
    metrics_files.remove(folder)
    assert not folder.exists()
