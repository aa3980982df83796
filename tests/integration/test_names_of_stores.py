"""Redis and PostgreSQL by name: looked up within the time that their callers have, and at every address."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
import redis
import trustme
from sqlalchemy import make_url

from service.quick_redis import quick_redis
from service.storage.bounded_connection import bounded
from tests.deployed_valkey import DeployedValkey
from tests.names import HOST, Names

NOBODY = "127.0.0.9"
SECONDS = 20.0


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names(monkeypatch)
    yield made
    made.answer()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedValkey]:
    running = DeployedValkey(tmp_path_factory.mktemp("valkey"))
    running.start()
    yield running
    running.stop()


def url_of(server: DeployedValkey) -> str:
    return server.url().replace("127.0.0.1", HOST)


@pytest.mark.parametrize("places", [["127.0.0.1"], [NOBODY, "127.0.0.1"]], ids=["first", "second"])
def test_redis_is_found_at_any_address_of_its_name(server: DeployedValkey, names: Names, places: list[str]) -> None:
    names.addresses = places
    with quick_redis(url_of(server)) as store:
        assert store.ping()
        assert names.asked == 1
        store.connection_pool.disconnect()
        assert store.ping()
        assert names.asked == 1, "it is known for a while"


def test_redis_that_has_moved_is_looked_for_anew(server: DeployedValkey, names: Names) -> None:
    names.addresses = [NOBODY]
    with quick_redis(url_of(server)) as store:
        with pytest.raises(redis.ConnectionError):
            store.ping()
        names.addresses = ["127.0.0.1"]
        assert store.ping()


def test_nobody_waits_for_a_name_server_that_is_silent(server: DeployedValkey, names: Names) -> None:
    names.fall_silent()
    with quick_redis(url_of(server)) as store:
        with pytest.raises(redis.TimeoutError):
            store.ping()
        names.answer()
        assert store.ping()


@pytest.mark.parametrize(("certified", "fits"), [(HOST, True), ("elsewhere.test", False)])
def test_redis_over_tls_is_known_by_its_name_and_not_by_its_address(
    server: DeployedValkey, names: Names, tmp_path: Path, certified: str, fits: bool
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with closing(TlsDoor(authority.issue_cert(certified), server.port)) as door:
        url = url_of(server).replace("redis://", "rediss://").replace(f":{server.port}/", f":{door.port}/")
        with quick_redis(f"{url}?ssl_ca_certs={tmp_path}/ca.pem") as store:
            if fits:
                assert store.ping()
            else:
                with pytest.raises(redis.ConnectionError, match="certificate"):
                    store.ping()


class TlsDoor:
    """TLS in front of a server that has none, as a provider's proxy is."""

    def __init__(self, certificate: trustme.LeafCert, behind: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                plain, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(plain,)))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            plain,
            suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self._behind)) as server,
        ):
            back = threading.Thread(target=_pass_on, args=(server, client))
            back.start()
            _pass_on(client, server)
            server.shutdown(socket.SHUT_RDWR)
            back.join(SECONDS)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)


@pytest.mark.parametrize("places", [["127.0.0.1"], [NOBODY, "127.0.0.1"]], ids=["first", "second"])
def test_postgresql_is_found_at_any_address_of_its_name(postgresql: str, names: Names, places: list[str]) -> None:
    names.addresses = places
    for _ in range(2):
        with connected(postgresql) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert names.asked == 1, "it is known for a while"


def test_postgresql_that_has_moved_is_looked_for_anew(postgresql: str, names: Names) -> None:
    names.addresses = [NOBODY]
    with pytest.raises(psycopg.OperationalError):
        connected(postgresql)
    names.addresses = ["127.0.0.1"]
    connected(postgresql).close()


def test_several_postgresqls_are_tried_by_the_library_itself(postgresql: str, names: Names) -> None:
    names.addresses = [NOBODY]
    port = make_url(postgresql).port
    connected(postgresql, host=f"{HOST},127.0.0.1", port=f"{port},{port}").close()


def test_postgresql_is_given_up_when_no_name_server_answers(postgresql: str, names: Names) -> None:
    names.fall_silent()
    with pytest.raises(psycopg.OperationalError, match="failed to resolve host"):
        connected(postgresql, connect_timeout=1)


def connected(url: str, **options: object) -> psycopg.Connection[tuple[int]]:
    place = make_url(url)
    known = {"host": HOST, "port": place.port, "user": place.username, "password": place.password, "dbname": "postgres"}
    return bounded(SECONDS).connect(**{"connect_timeout": 10, **known, **options})
