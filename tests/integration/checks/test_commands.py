"""`python -m service config` and `check` as an operator types them, against real parts."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from service import __version__
from service.storage.schema import SCHEMA_REVISION
from tests.conftest import StartService
from tests.integration.checks.conftest import SECRET, Ask
from tests.openbao import RunningOpenBao
from tests.servers import ROOT, RunningService, free_port


def test_all_is_well_where_all_is_well(command: Ask, well: dict[str, str]) -> None:
    said = command("check", **well)
    assert said.code == 0, said.out
    assert said.err == ""
    lines = said.out.splitlines()
    assert all(re.match(r"(ok|warning) +\w+ +\S", line) for line in lines)
    assert not [line for line in lines if line.startswith("failed")]
    for words in ("redis", "database", "secrets", "elevenlabs", "machine", "ports", "configuration"):
        assert any(re.match(rf"ok +{words} ", line) for line in lines), words
    assert "it takes our key and lets us talk to the agent" in said.out


def test_everything_that_is_away_is_told_at_once(ask: Ask, well: dict[str, str], tmp_path: Path) -> None:
    nobody = "127.0.0.1:1"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = {
            "VOCERO_REDIS_URL": f"redis://vocero:{SECRET}@{nobody}/0",
            "VOCERO_DATABASE_URL": f"postgresql+psycopg://vocero:{SECRET}@{nobody}/vocero",
            "VOCERO_SANDBOX": "false",
            "ELEVENLABS_BASE_URL": f"http://{nobody}",
            "ELEVENLABS_API_KEY": SECRET,
            "VOCERO_PORT": str(taken.getsockname()[1]),
            "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
            "VOCERO_FALLBACK_FAQ": str(tmp_path / "nothing.yaml"),
            "VOCERO_PROT": "8000",
        }
        said = ask("check", "--json", **{**well, **away})
    assert said.code == 1
    assert said.json["state"] == "failed"
    failed = {each["what"] for each in said.json["findings"] if each["state"] == "failed"}
    assert failed == {"redis", "database", "elevenlabs", "ports", "backup"}
    assert all(each["remedy"] for each in said.json["findings"] if each["state"] == "failed")
    assert said.states("configuration") == [
        ("warning", "VOCERO_PROT is no variable of Vocero's and does nothing; did you mean VOCERO_PORT?")
    ]


def test_ports_that_the_service_itself_serves_are_well(ask: Ask, well: dict[str, str], service: RunningService) -> None:
    said = ask("check", "--json", **{**well, "VOCERO_PORT": str(service.port)})
    state, words = said.states("ports")[0]
    assert state == "ok"
    assert re.search(r"is served by Vocero \d+\.\d+\.\d+ already", words)


def test_a_wrong_setting_is_78_for_both_commands(ask: Ask, well: dict[str, str]) -> None:
    for name in ("config", "check"):
        said = ask(name, **{**well, "VOCERO_PORT": SECRET})
        assert (said.code, said.out) == (78, "")
        assert said.err.startswith("vocero: VOCERO_PORT: must be a whole number")
        assert said.err.count("\n") == 1


def test_waiting_ends_with_its_time(ask: Ask, well: dict[str, str]) -> None:
    said = ask("check", "--wait", "0.1", **{**well, "VOCERO_REDIS_URL": "redis://127.0.0.1:1/0"})
    assert said.code == 1
    assert "it cannot be reached" in said.out


# --- Secrets


def test_vault_is_logged_in_to_and_read(ask: Ask, well: dict[str, str], openbao: RunningOpenBao) -> None:
    openbao.put("vocero", elevenlabs_api_key="sandbox-key")
    role_id, secret_id = openbao.make_approle("checks")
    ours = {"VAULT_ADDR": openbao.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    said = ask("check", "--json", **_without_key(well), **ours)
    assert said.code == 0, said.out
    assert "Vault lets us in and gives elevenlabs_api_key" in said.states("secrets")[0][1]
    assert secret_id not in said.out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VAULT_TOKEN": SECRET}, "refuses our login"),
        ({"VAULT_ROLE_ID": "nobody", "VAULT_SECRET_ID": SECRET}, "refuses our login"),
        ({"VAULT_TOKEN": "root", "VAULT_KV_PATH": "nothing-there"}, "has nothing at"),
        ({"VAULT_TOKEN": "root", "VAULT_ELEVENLABS_KEY_FIELD": "nothing"}, "Field nothing of secret/vocero"),
    ],
    ids=["token", "approle", "path", "field"],
)
def test_what_vault_refuses_is_told(
    ask: Ask, well: dict[str, str], openbao: RunningOpenBao, settings: dict[str, str], words: str
) -> None:
    openbao.put("vocero", elevenlabs_api_key="sandbox-key")
    said = ask("check", "--json", VAULT_ADDR=openbao.url, **_without_key(well), **settings)
    assert said.code == 1
    state, told = said.states("secrets")[0]
    assert state == "failed"
    assert words in told


def test_a_wrapped_secret_id_is_left_for_the_service(ask: Ask, well: dict[str, str], openbao: RunningOpenBao) -> None:
    role_id, _ = openbao.make_approle("checks-wrapped")
    wrapping_token = openbao.wrapped_secret_id("checks-wrapped")
    ours = {"VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": wrapping_token, "VAULT_SECRET_ID_WRAPPED": "true"}
    said = ask("check", "--json", VAULT_ADDR=openbao.url, **_without_key(well), **ours)
    assert said.code == 0, said.out
    assert openbao.client(wrapping_token).sys.unwrap()["data"]["secret_id"], "nobody has unwrapped it yet"


def _without_key(settings: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name != "ELEVENLABS_API_KEY"}


# --- ElevenLabs


@pytest.mark.parametrize(
    ("settings", "state", "words"),
    [
        ({"ELEVENLABS_API_KEY": SECRET}, "failed", "it refuses our key"),
        ({"ELEVENLABS_AGENT_ID": "agent_nobody"}, "failed", "it takes our key and refuses the agent"),
        ({"ELEVENLABS_AGENT_ID": ""}, "ok", "it takes our key"),
        ({"ELEVENLABS_BASE_URL": "https://nothing.invalid"}, "failed", "the name nothing.invalid is not known here"),
    ],
    ids=["key", "agent", "no agent", "name"],
)
def test_what_elevenlabs_says_is_told(
    ask: Ask, well: dict[str, str], settings: dict[str, str], state: str, words: str
) -> None:
    said = ask("check", "--json", **{**well, **settings})
    assert said.states("elevenlabs")[0][0] == state
    assert words in said.states("elevenlabs")[0][1]
    assert said.code == (1 if state == "failed" else 0)


def test_a_clock_that_is_an_hour_off_is_named(ask: Ask, well: dict[str, str]) -> None:
    with _an_hour_behind() as url:
        said = ask("check", "--json", **{**well, "ELEVENLABS_BASE_URL": url})
    taken, clock = said.states("elevenlabs")
    assert taken[0] == "ok"
    assert clock == ("failed", "its clock and this machine's differ: it is 60 min behind")
    assert said.code == 1


class _HourBehind(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"signed_url": "wss://nowhere.example/"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) - 3600)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def _an_hour_behind() -> Iterator[str]:
    """Something that answers like ElevenLabs, and is late: no real part has a clock of its own here."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _HourBehind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# --- config


def test_the_configuration_is_shown_with_where_it_comes_from_and_without_secrets(ask: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "VOCERO_DATABASE_URL").write_text(f"postgresql+psycopg://vocero:{SECRET}@db/vocero\n")
    (folder / "VOCERO_ELEVENLABS_2_API_KEY").write_text(SECRET)
    env_file = tmp_path / ".env"
    env_file.write_text("VOCERO_WORKERS=4\nVOCERO_PORT=9000\n")
    said = ask(
        "config", "--json", "--env-file", str(env_file),
        VOCERO_SECRETS_FOLDER=str(folder),
        VOCERO_PORT="8100",
        ELEVENLABS_API_KEY=SECRET,
        VAULT_TOKEN=SECRET,
        VOCERO_REDIS_URL=f"rediss://vocero:{SECRET}@redis:6379/0?password={SECRET}",
        VOCERO_PROT="1",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert said.json["schema"] == SCHEMA_REVISION
    found = {each["variable"]: (each["value"], each["origin"], each["is_default"]) for each in said.json["settings"]}
    assert found["VOCERO_PORT"] == ("8100", "environment", False)
    assert found["VOCERO_WORKERS"] == ("4", ".env", False)
    assert found["VOCERO_OPS_PORT"] == ("8001", "default", True)
    assert found["ELEVENLABS_API_KEY"] == ("(set, hidden)", "environment", False)
    assert found["VOCERO_ELEVENLABS_2_API_KEY"] == ("(set, hidden)", "secrets file", False)
    assert found["VOCERO_DATABASE_URL"] == ("postgresql+psycopg://vocero:(hidden)@db/vocero", "secrets file", False)
    assert found["VOCERO_REDIS_URL"][0] == "rediss://vocero:(hidden)@redis:6379/0?(hidden)"
    assert [each["variable"] for each in said.json["settings"]][:3] == [
        "ELEVENLABS_API_KEY", "VAULT_ADDR", "VAULT_TOKEN",
    ]  # fmt: skip
    assert said.json["warnings"] == [
        "VOCERO_PROT is no variable of Vocero's and does nothing; did you mean VOCERO_PORT?"
    ]


def test_for_people_a_star_stands_before_what_is_not_the_default(ask: Ask) -> None:
    said = ask("config", VOCERO_PORT="8100", VOCERO_PUBLIC_AGENTS="agent_a", VOCERO_HSOT="x")
    assert re.search(r"^\* VOCERO_PORT +8100  \[environment\]$", said.out, re.MULTILINE)
    assert re.search(r"^  VOCERO_OPS_PORT +8001$", said.out, re.MULTILINE)
    assert "\nWhere the service listens\n" in said.out
    assert "did you mean VOCERO_HOST?" in said.err


def test_the_documentation_has_every_option() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    source = (ROOT / "service" / "checks" / "command.py").read_text()
    for option in re.findall(r'"(--[a-z-]+)"', source):
        assert option in text, option


# --- The service itself, with its secrets as files


def test_the_service_runs_on_files_and_warns_of_what_nobody_reads(
    start_service: StartService, service_settings: dict[str, str], tmp_path: Path
) -> None:
    secret = ("ELEVENLABS_API_KEY", "VOCERO_DATABASE_URL")
    for name in secret:
        (tmp_path / name).write_text(f"{service_settings[name]}\n")
    empty = dict.fromkeys(secret, "")
    port = str(free_port())
    running = start_service(**empty, VOCERO_SECRETS_FOLDER=str(tmp_path), VOCERO_PROT="1", VOCERO_OPS_PORT=port)
    running.wait_for_log("VOCERO_PROT is no variable of Vocero's and does nothing; did you mean VOCERO_PORT?")
    answer = requests.get(f"{running.url}/version", timeout=10).json()
    assert answer == {"version": __version__, "schema": {"code": [SCHEMA_REVISION], "database": [SCHEMA_REVISION]}}
    assert requests.get(f"{running.ops_url}/version", timeout=10).json() == answer
    assert requests.get(f"{running.url}/readyz", timeout=10).status_code == 200
    ops = running.ops_pid()
    assert ops is not None
    assert b"VOCERO_SECRETS_FOLDER" not in Path(f"/proc/{ops}/environ").read_bytes()
    master = Path(f"/proc/{running.child.pid}/environ").read_bytes()
    assert service_settings["ELEVENLABS_API_KEY"].encode() not in master
