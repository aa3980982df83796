"""A child process: watched, explained when it fails, and ended with everything below it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.launcher.child import Child, ChildFailedError, stop_all
from scripts.launcher.waiting import wait_until
from tests.servers import children_of, is_alive

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


class Start:
    """Starts Python code as a child."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.children: list[Child] = []

    def __call__(self, code: str, *, stop_seconds: float = 5.0) -> Child:
        name = f"child{len(self.children)}"
        child = Child(
            name,
            [sys.executable, "-c", code],
            environment={"PATH": os.environ["PATH"]},
            log_path=self._folder / f"{name}.log",
            folder=self._folder,
            stop_seconds=stop_seconds,
        )
        self.children.append(child)
        child.start()
        return child


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    start = Start(tmp_path)
    yield start
    for child in start.children:
        child.kill()


def test_a_child_that_ends_too_early_is_told_with_its_code_and_last_words(start: Start) -> None:
    child = start("print('no cake today'); raise SystemExit(3)")
    with pytest.raises(ChildFailedError, match="child0 ended with code 3") as caught:
        child.wait_until_ready(lambda: False, 20)
    assert str(caught.value).endswith("\n  | no cake today")


def test_a_child_that_is_never_ready_is_told_with_the_limit(start: Start) -> None:
    with pytest.raises(ChildFailedError, match=r"child0 was not ready within 0\.2 s"):
        start("import time; time.sleep(60)").wait_until_ready(lambda: False, 0.2)


def test_a_childs_death_by_a_signal_is_named(start: Start) -> None:
    child = start("import time; time.sleep(60)")
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.exit_code is not None)
    with pytest.raises(ChildFailedError, match="was ended by SIGKILL"):
        child.check()


def test_stopping_ends_a_child_that_ignores_it(start: Start) -> None:
    child = start(STUBBORN, stop_seconds=0.2)
    wait_until(lambda: child.last_lines() == ["deaf"])
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_stopping_ends_the_childs_own_children_too(start: Start) -> None:
    child = start(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])")
    wait_until(lambda: "deaf" in child.last_lines())
    below = children_of(child.pid)
    assert len(below) == 1
    child.stop()
    wait_until(lambda: not is_alive(below[0]))


def test_stopping_twice_or_before_the_start_is_no_mistake(tmp_path: Path, start: Start) -> None:
    Child("never", ["true"], environment={}, log_path=tmp_path / "never.log", folder=tmp_path).stop()
    child = start("pass")
    child.stop()
    child.stop()


def test_the_last_child_ends_before_those_that_it_uses(start: Start, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def leave(*_):\n"
        "    open({order!r}, 'a').write({name!r})\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    order = str(tmp_path / "order")
    children = [start(code.format(order=order, name=name)) for name in ("store,", "service,")]
    for child in children:
        wait_until(lambda child=child: child.last_lines() == ["up"])  # type: ignore[misc]
    stop_all(children)
    assert Path(order).read_text() == "service,store,"


def test_the_log_of_the_run_before_is_kept(start: Start, tmp_path: Path) -> None:
    child = start("print('first')")
    wait_until(lambda: child.exit_code is not None)
    again = Child(
        "child0",
        [sys.executable, "-c", "print('second')"],
        environment={},
        log_path=child.log_path,
        folder=tmp_path,
    )
    again.start()
    wait_until(lambda: again.exit_code is not None)
    assert again.last_lines() == ["second"]
    assert (tmp_path / "child0.log.1").read_text() == "first\n"
