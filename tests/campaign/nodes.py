"""Service nodes behind a balancer, to be restarted, reloaded and replaced while people talk.

The key decision: a node is stopped as an orchestrator does it: taken out of the balancer, then SIGTERM, and it must be
gone by itself within its time.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from types import TracebackType

from scripts.launcher.waiting import wait_until
from tests.campaign.balancer import Balancer
from tests.servers import RunningService, is_alive

LEAVE_SECONDS = 40.0
CONVERSATION_PATH = "/v1/convai/conversation"


class Nodes:
    """`count` nodes that `start` starts, behind one address."""

    def __init__(self, start: Callable[[], RunningService], *, count: int) -> None:
        self._start = start
        self.running = [start() for _ in range(count)]
        self._balancer = Balancer([node.port for node in self.running])
        self.gone: list[RunningService] = []

    def __enter__(self) -> Nodes:
        self._balancer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._balancer.__exit__(kind, exc, trace)

    def url(self, **query: str) -> str:
        """Where a conversation is opened, through the balancer."""
        asked = {"agent_id": "agent_demo", "vocero_events": "true", **query}
        return f"ws://127.0.0.1:{self._balancer.port}{CONVERSATION_PATH}?" + "&".join(
            f"{name}={value}" for name, value in asked.items()
        )

    def replace(self) -> int | None:
        """Start a new node, and take the oldest out and stop it; its exit code is the result."""
        node = self._start()
        self.running.append(node)
        self._balancer.add(node.port)
        leaving = self.running.pop(0)
        self._balancer.remove(leaving.port)
        leaving.child.ask_to_stop()
        wait_until(lambda: leaving.child.exit_code is not None, LEAVE_SECONDS, "the node's end")
        self.gone.append(leaving)
        return leaving.child.exit_code

    def reload(self) -> None:
        """Let the oldest node replace its workers (SIGHUP), and wait until the old ones are gone."""
        node = self.running[0]
        old = node.worker_pids()
        os.kill(node.child.pid, signal.SIGHUP)
        wait_until(lambda: not any(is_alive(pid) for pid in old), LEAVE_SECONDS, "the old workers' end")
        self.running.append(self.running.pop(0))

    def kill_worker(self, dice: random.Random) -> None:
        """Kill one worker of any node outright; gunicorn starts another."""
        node = dice.choice(self.running)
        self._kill(node, dice.choice(node.worker_pids()))

    def _kill(self, node: RunningService, victim: int) -> None:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in node.worker_pids(), LEAVE_SECONDS, "the worker's end")
        wait_until(lambda: len(node.worker_pids()) >= int(node.environment["VOCERO_WORKERS"]), LEAVE_SECONDS, "another")

    def kill_all_workers(self) -> None:
        """Kill every worker outright, one after the other: no conversation stays where it was."""
        for node in self.running:
            for victim in node.worker_pids():
                self._kill(node, victim)

    def logs(self) -> list[RunningService]:
        """Every node that there was."""
        return [*self.gone, *self.running]
