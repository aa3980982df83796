"""What gunicorn's master does beyond gunicorn: no signal and no worker that fails to start costs a conversation.

The key decision: a worker counts as started when it says so, in memory that it shares with the master. gunicorn alone
ends the old workers of a reload before the new ones are up, and ends *everything* when one worker cannot start: a wrong
file, or a database that is away in the second in which a worker is replaced, takes the node down. Here the old ones
leave when the new ones are there, and go on if those do not come; once one worker has been up, another one that
cannot start is tried again.

gunicorn has no hooks for that. So methods of its arbiter are replaced, on the one object that there is.

Standard library and gunicorn only: the master uses this module, and what it imports a worker can no longer patch.
"""

from __future__ import annotations

import mmap
import signal
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from gunicorn.errors import HaltServer

from service.errors import ConfigurationError

START_AGAIN_SECONDS = 5.0
"""Until another worker is started in the place of one that could not."""

RELOAD_SECONDS = 60.0
"""That new workers may take to come up, before a reload is given up."""

MOST_PLACES = 256
"""Two sets of the most workers that there may be, and some."""


class Roll:
    """Which places have a worker that is up; in memory that all processes share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MOST_PLACES + 1)  # the last byte: somebody has ever been up

    def start(self, place: int) -> None:
        """A worker is about to start there."""
        self._memory[place] = 0

    def up(self, place: int) -> None:
        """The worker there is up."""
        self._memory[place] = self._memory[MOST_PLACES] = 1

    def is_up(self, place: int) -> bool:
        """Tell whether the worker there is up."""
        return bool(self._memory[place])

    @property
    def was_ever_up(self) -> bool:
        """Tell whether any worker has been up since the master's start."""
        return bool(self._memory[MOST_PLACES])


class Companion(Protocol):
    """A process of the master's beside its workers."""

    def keep_running(self) -> None:
        """Start it again if it has ended."""


class Master:
    """Looks after the workers of gunicorn's arbiter `server`, and after the `companions`.

    `check_new_settings` raises ConfigurationError if what a reload would read cannot be used.
    """

    def __init__(
        self, server: Any, *, companions: Collection[Companion], check_new_settings: Callable[[], None]
    ) -> None:
        self._server = server
        self._companions = companions
        self._check_new_settings = check_new_settings
        self._manage_workers: Callable[[], None] = server.manage_workers
        self._more_workers: Callable[[], None] = server.handle_ttin
        self._fewer_workers: Callable[[], None] = server.handle_ttou
        self._reap_workers: Callable[[], None] = server.reap_workers
        self._stop: Callable[[bool], None] = server.stop
        self._is_leaving = False
        self._not_before = 0.0
        self._is_reload_wanted = False
        self._new: frozenset[int] = frozenset()  # the workers of a reload, by process id
        self._new_until = 0.0
        self._unwanted: frozenset[int] = frozenset()  # those of one that was given up
        self._before: tuple[Any, int] = server.cfg, 0  # gunicorn's settings and the number of workers

    def take_over(self) -> None:
        """Do from now on what gunicorn's own methods would do."""
        self._server.manage_workers = self.look_after_all  # once a second, and after each signal and each child's end
        self._server.reload = self.reload
        self._server.reexec = self.refuse_second_master
        self._server.handle_ttin = self.add_worker
        self._server.handle_ttou = self.take_worker_away
        self._server.reap_workers = self.reap_workers
        self._server.stop = self.stop

    def worker_ended(self, place: int) -> None:
        """One has ended; if it was never up, the next one waits."""
        if not self._server.roll.is_up(place):
            self._not_before = time.monotonic() + START_AGAIN_SECONDS

    def stop(self, graceful: bool = True) -> None:
        """End all workers: whatever they end with from now on changes nothing any more."""
        self._is_leaving = True
        self._stop(graceful)

    def reap_workers(self) -> None:
        """Note which workers have ended; the first that could not start ends the service, with its code.

        gunicorn lets a second one that ended so raise in the middle of the ending: a traceback and code 1, which say
        nothing of the reason.
        """
        try:
            self._reap_workers()
        except HaltServer:
            if not self._is_leaving:
                raise

    def look_after_all(self) -> None:
        """Keep the companions running, and as many workers as there shall be."""
        for companion in self._companions:
            companion.keep_running()
        if self._new:
            self._see_whether_they_come()
        elif self._unwanted:
            self._see_whether_they_go()
        elif self._lacks_workers() and time.monotonic() < self._not_before:
            return  # what could not start a moment ago
        else:
            self._manage()
            if self._is_reload_wanted and not self._has_leavers():
                self._is_reload_wanted = False
                self.reload()

    def reload(self) -> None:
        """SIGHUP: start workers with the settings as they are now; when they are up, the old ones leave."""
        if self._new or self._unwanted or self._has_leavers():
            self._is_reload_wanted = True
            self._say("A reload waits until the workers of the one before have left.")
            return
        before = self._server.cfg
        try:
            self._check_new_settings()
            self._server.app.reload()
        except (ConfigurationError, SystemExit) as exc:
            self._server.app.cfg = before
            reason = str(exc) if isinstance(exc, ConfigurationError) else "gunicorn's settings cannot be read."
            self._server.log.error(f"Not reloaded, the workers go on as before: {reason}")  # noqa: TRY400 (that says it)
            return
        self._before = before, self._server.num_workers
        self._server.setup(self._server.app)
        ages = self._server.worker_age
        self._new_until = time.monotonic() + RELOAD_SECONDS
        for _ in range(self._server.num_workers):
            if not self._spawn():
                self._new_until = time.monotonic()
        self._new = frozenset(pid for pid, worker in self._server.WORKERS.items() if worker.age > ages)
        if not self._new:
            self._give_up("none could be started")

    def refuse_second_master(self) -> None:
        """SIGUSR2: gunicorn would start a second master, for whom there is no port for ops."""
        self._server.log.error(
            "SIGUSR2 is refused: there is one master. SIGHUP takes new settings over; new code comes with a new service"
            " beside this one (docs/operations.md)."
        )

    def add_worker(self) -> None:
        """SIGTTIN: one more, up to as many as the settings say, which is what the account's slots are shared out to."""
        most = self._server.cfg.workers
        if self._server.num_workers >= most:
            self._server.log.error(f"SIGTTIN is refused: VOCERO_WORKERS is {most}, and so many run.")
            return
        self._more_workers()

    def take_worker_away(self) -> None:
        """SIGTTOU: one less, who leaves as for any other reason; the last one stays."""
        if self._server.num_workers <= 1:
            self._server.log.error("SIGTTOU is refused: one worker is the least; SIGTERM ends the service.")
            return
        self._fewer_workers()

    def _see_whether_they_come(self) -> None:
        workers = self._server.WORKERS
        there = self._new & workers.keys()
        if there == self._new and all(self._server.roll.is_up(workers[pid].place) for pid in there):
            old = len(workers) - len(there)
            self._new = frozenset()
            self._say(f"Reloaded: {len(there)} new workers are up, and {old} old ones leave.")
            self._manage()
        elif there != self._new or time.monotonic() > self._new_until:
            self._give_up("one ended" if there != self._new else "they took too long")

    def _give_up(self, why: str) -> None:
        self._unwanted, self._new = self._new & self._server.WORKERS.keys(), frozenset()
        for pid in self._unwanted:
            self._server.kill_worker(pid, signal.SIGTERM)
        self._server.app.cfg, workers_before = self._before
        self._server.setup(self._server.app)
        self._server.num_workers = workers_before
        self._server.log.error(
            f"Not reloaded, the old workers go on: the new ones did not come up ({why}; see the lines before)."
        )

    def _see_whether_they_go(self) -> None:
        """gunicorn would take the oldest for the ones that are too many."""
        self._unwanted &= self._server.WORKERS.keys()
        if self._lacks_workers() and time.monotonic() >= self._not_before:
            self._spawn()

    def _manage(self) -> None:
        """As gunicorn does it, who would end everything when there is no process or file left for one more."""
        try:
            self._manage_workers()
        except OSError as exc:
            self._could_not_spawn(exc)

    def _spawn(self) -> bool:
        try:
            self._server.spawn_worker()  # the worker itself never comes back from here
        except OSError as exc:
            self._could_not_spawn(exc)
            return False
        return True

    def _could_not_spawn(self, failure: OSError) -> None:
        line = f"No worker can be started ({failure.strerror or failure})."
        if not self._server.roll.was_ever_up:
            raise HaltServer(line)
        self._server.log.error(line)
        self._not_before = time.monotonic() + START_AGAIN_SECONDS

    def _lacks_workers(self) -> bool:
        return bool(len(self._server.WORKERS) - len(self._unwanted) < self._server.num_workers)

    def _has_leavers(self) -> bool:
        return bool(len(self._server.WORKERS) > self._server.num_workers)

    def _say(self, line: str) -> None:
        self._server.log.warning(line)  # nothing less is shown (`service.gunicorn_conf`), and whoever reloads wants it
