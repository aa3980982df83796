"""The process that judges: `python -m service.audio_quality.judging DESCRIPTOR MASTER LOG_FORMAT`, one for a node.

The key decision: it can be killed at any moment, and hanging is answered by that: an alarm of the kernel ends the
process when one answer takes too long, and its keeper starts it again. It listens on a socket that it was given, takes
one question after the other, and ends when its keeper does. Its niceness leaves the audio that is being carried alone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time

import structlog

from service.audio_quality import wire
from service.audio_quality.judge import Judge
from service.audio_quality.sample import UnreadableSoundError
from service.audio_quality.speech_models import Models, SpeechModels, models_are_installed
from service.fallback.two_part_wire import BrokenError
from service.logs import configure_logging

log = structlog.get_logger(__name__)

LONGEST_SECONDS = 20.0
"""That one answer may take: twenty times what the longest takes on a busy machine."""

_NICENESS = 10
_MOST_CONNECTIONS = 128
_TRANSFER_SECONDS = 5.0
_LOOK_AFTER_SECONDS = 1.0


class JudgingProcess:
    """Answers on `listener` until the process `master` is gone."""

    def __init__(self, listener: socket.socket, *, master: int) -> None:
        self._listener = listener
        self._master = master
        self._selector = selectors.DefaultSelector()
        self._models: Models | None = None
        self._judge: Judge | None = None

    def run(self) -> None:
        """Answer."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while os.getppid() == self._master:
            for key, _ in self._selector.select(_LOOK_AFTER_SECONDS):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._answer(key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # whoever it was may be gone again
            connection, _ = self._listener.accept()
            if len(self._selector.get_map()) > _MOST_CONNECTIONS:
                connection.close()
            else:
                self._selector.register(connection, selectors.EVENT_READ)

    def _answer(self, connection: socket.socket) -> None:
        signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)  # nobody handles it, so it ends the process
        try:
            sample = wire.read_sample(connection, time.monotonic() + _TRANSFER_SECONDS)
            judge = self._judge or self._open_judge()
            try:
                verdict = judge.judge(sample)
            except UnreadableSoundError:
                verdict = None
            wire.write_verdict(
                connection,
                verdict,
                with_models=self._models is not None,
                deadline=time.monotonic() + _TRANSFER_SECONDS,
            )
        except (BrokenError, TimeoutError):
            self._forget(connection)
        except Exception as exc:  # noqa: BLE001 (a worker loop: one sound must not cost the others their scores)
            log.warning("an answer could not be judged", reason=type(exc).__name__)
            self._forget(connection)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()

    def _open_judge(self) -> Judge:
        """With the first answer only: until then it is a small process."""
        if models_are_installed():
            try:
                self._models = SpeechModels()
            except Exception as exc:  # noqa: BLE001 (whatever a broken installation may say)
                log.warning("the models of audio quality cannot be loaded", reason=type(exc).__name__)
        if self._models is None:
            log.warning("audio is checked for defects only, and not scored", install="vocero[quality]")
        self._judge = Judge(self._models)
        return self._judge


def main(descriptor: int, master: int, log_format: str) -> None:
    """Answer on the listening socket `descriptor`."""
    configure_logging("warning", log_format)
    os.nice(_NICENESS)
    with socket.socket(fileno=descriptor) as listener:
        JudgingProcess(listener, master=master).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
