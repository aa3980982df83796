"""gunicorn's gevent worker, with an answer whose head and first piece leave together.

The key decision: gunicorn writes a head, then the body's first chunk. That is a packet and a wake-up of the client more
than it takes, before the first byte of audio is heard. What the subclass leaves out besides (the access log, the hooks
around a request) is switched off in `service.gunicorn_conf` anyway.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import time
from typing import Any

import gevent
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

from service.errors import ConfigurationError, SettingsError

_BOOT_ERROR: int = Arbiter.WORKER_BOOT_ERROR

SETTINGS_EXIT_CODE = SettingsError.exit_code
"""Of a worker that a wrong setting keeps from starting."""


class OneWriteResponse(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """A chunked answer in which each piece is one write, the first one with the head before it."""

    headers_sent: bool

    def write(self, arg: bytes) -> None:
        """Send a piece of the body as soon as it is there."""
        if not self.chunked or not arg:
            super().write(arg)
            return
        data = b"%X\r\n%b\r\n" % (len(arg), arg)
        if not self.headers_sent:
            data = self._head() + data
            self.headers_sent = True
        self.sent += len(arg)
        self._send(data)

    def close(self) -> None:
        """End the body."""
        if self.chunked and self.headers_sent:
            self._send(b"0\r\n\r\n")
        else:
            super().close()

    def _send(self, data: bytes) -> None:
        # gevent's sendall asks the kernel for its buffer's size each time; most pieces fit.
        taken = self.sock.send(data)
        if taken < len(data):
            self.sock.sendall(memoryview(data)[taken:])

    def _head(self) -> bytes:
        connection = "close" if self.should_close() else "keep-alive"
        lines = [f"HTTP/1.{self.req.version[1]} {self.status}\r\nServer: {self.version}\r\n"]
        lines += [f"Date: {_date(int(time.time()))}\r\nConnection: {connection}\r\nTransfer-Encoding: chunked\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        return ("".join(lines) + "\r\n").encode("latin-1")


@functools.lru_cache(maxsize=1)
def _date(now: int) -> str:
    date: str = util.http_date(now)
    return date


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker process of the service."""

    alive: bool
    nr: int
    may_end_the_master: bool
    """Whether a failure to start is everybody's (`service.gunicorn_master`)."""

    def init_process(self) -> None:
        """Start, with every setting as a plain attribute: gunicorn looks some thirty of them up for each request."""
        plain: dict[str, Any] = self.cfg.__dict__
        plain.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def load_wsgi(self) -> None:
        """Import the service; one that cannot start ends the master too, as long as none has ever started.

        A mistake of the operator's is one line, anything else has its traceback.
        """
        try:
            super().load_wsgi()
        except ConfigurationError as exc:
            print(f"vocero: {exc}", file=sys.stderr, flush=True)  # noqa: T201 (a log may not be configured yet)
            if not self.may_end_the_master:
                sys.exit(1)
            # The master ends with the very code that it knows for this.
            sys.exit(SETTINGS_EXIT_CODE if isinstance(exc, SettingsError) else _BOOT_ERROR)
        except Exception:  # the edge of a worker: whatever keeps one from starting must not end the others
            if self.may_end_the_master:
                raise
            self.log.exception("A worker could not start.")
            sys.exit(1)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer `req`; the connection is kept for another one.

        Raises:
            StopIteration: it is not.
            OSError: it is lost.
        """
        response = None
        try:
            response, environ = wsgi.create(req, sock, addr, listener_name, self.cfg, response_class=OneWriteResponse)
            environ["wsgi.multithread"] = True
            if not self.alive or not self.cfg.keepalive:
                response.force_close()
            self._answer(response, environ)
        except (OSError, StopIteration):
            raise
        except (gevent.GreenletExit, SystemExit):
            raise StopIteration from None  # ended half-way: nothing more can be said on this connection
        except Exception:
            if response is None or not response.headers_sent:
                raise  # gunicorn answers 500
            self.log.exception("Error handling request")
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            raise StopIteration from None
        finally:
            self._count_request()
        if response.should_close():
            raise StopIteration

    def _count_request(self) -> None:
        # When it has ended: a conversation that has just come is not sent away.
        self.nr += 1
        if self.alive and self.nr >= self.max_requests:
            self.log.info("This worker has served %s requests and is replaced.", self.nr)
            self.alive = False

    def _answer(self, response: OneWriteResponse, environ: dict[str, Any]) -> None:
        body = self.wsgi(environ, response.start_response)
        try:
            if isinstance(body, environ["wsgi.file_wrapper"]):
                response.write_file(body)
            else:
                for piece in body:
                    response.write(piece)
            response.close()
        finally:
            if hasattr(body, "close"):
                body.close()
