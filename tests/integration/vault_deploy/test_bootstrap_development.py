from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from tests.integration.vault_deploy.scripts_run import BOOTSTRAP, SECONDS, complaint, environment, run, run_well
from tests.openbao import RunningOpenBao, program

StartOpenBao = Callable[..., RunningOpenBao]
KEY = "sk_canary_5f0e81c37a"

# In front of `bao`: writes down what anybody on this machine can see at the moment at which it runs.
ONLOOKER = """#!/bin/sh
for seen in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <"$seen"; echo; done >>"$SEEN" 2>/dev/null
env >>"$SEEN"
printf '%s\\n' "called: $*" >>"$SEEN"
exec "$REAL" "$@"
"""


def entry(openbao: RunningOpenBao, path: str) -> dict[str, Any]:
    answer = openbao.client().secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
    fields: dict[str, Any] = answer["data"]["data"]
    return fields


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "the key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture
def onlooker(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The variables that put it in place, and the file that it writes."""
    script, seen = tmp_path / "onlooker", tmp_path / "seen"
    script.write_text(ONLOOKER)
    script.chmod(0o755)
    return {"VAULT_CLI": str(script), "REAL": str(program()), "SEEN": str(seen)}, seen


def test_the_key_comes_from_a_file_or_from_the_standard_input(openbao: RunningOpenBao, key_file: Path) -> None:
    run_well(BOOTSTRAP, "--key-file", str(key_file), **environment(openbao, VAULT_KV_PATH="dev/file"))
    assert entry(openbao, "dev/file") == {"elevenlabs_api_key": KEY}
    for ending in ("", "\n"):
        run_well(BOOTSTRAP, given=KEY + ending, **environment(openbao, VAULT_KV_PATH="dev/input"))
        assert entry(openbao, "dev/input") == {"elevenlabs_api_key": KEY}


def test_other_fields_stay_and_other_names_are_what_the_service_calls_them(openbao: RunningOpenBao) -> None:
    openbao.client().sys.enable_secrets_engine("kv", "dev-kv", options={"version": "2"})
    openbao.put("dev/kept", mount="dev-kv", database_password="kept", eleven="old")
    variables = {"VAULT_KV_MOUNT": "dev-kv", "VAULT_KV_PATH": "dev/kept", "VAULT_ELEVENLABS_KEY_FIELD": "eleven"}
    run_well(BOOTSTRAP, given=KEY, **environment(openbao, **variables))
    answer = openbao.client().secrets.kv.v2.read_secret_version(
        "dev/kept", mount_point="dev-kv", raise_on_deleted_version=True
    )
    assert answer["data"]["data"] == {"database_password": "kept", "eleven": KEY}


def test_a_deleted_version_is_followed_by_a_new_one(openbao: RunningOpenBao) -> None:
    openbao.put("dev/deleted", elevenlabs_api_key="old")
    openbao.delete_version("dev/deleted")
    run_well(BOOTSTRAP, given=KEY, **environment(openbao, VAULT_KV_PATH="dev/deleted"))
    assert entry(openbao, "dev/deleted") == {"elevenlabs_api_key": KEY}


def test_our_own_secrets_are_made_if_they_are_missing_and_never_replaced(openbao: RunningOpenBao) -> None:
    variables = environment(openbao, VAULT_KV_PATH="dev/own")
    printed = run_well(BOOTSTRAP, "--own-secrets", given=KEY, **variables)
    assert printed == {"VAULT_TICKET_SIGNING_KEY_FIELD": "ticket_signing_key"}
    fields = entry(openbao, "dev/own")
    assert fields.keys() == {"elevenlabs_api_key", "ticket_signing_key"}
    assert len(fields["ticket_signing_key"]) == 43
    assert set(fields["ticket_signing_key"]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    run_well(BOOTSTRAP, "--own-secrets", given=KEY, **variables)
    assert entry(openbao, "dev/own") == fields


def test_nobody_sees_the_key_or_our_own_secrets_among_the_processes_or_in_a_trace(
    openbao: RunningOpenBao, onlooker: tuple[dict[str, str], Path]
) -> None:
    in_place, seen = onlooker
    # Variables with the script's own names, from outside: a shell would hand on what it puts into them.
    variables = {**environment(openbao, VAULT_KV_PATH="dev/seen"), **in_place, "key": "x", "value": "x", "said": "x"}
    traced = subprocess.run(
        ["/bin/sh", "-x", str(BOOTSTRAP), "--own-secrets"],
        check=False,
        env=variables,
        input=KEY,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert traced.returncode == 0, traced.stderr
    everything = seen.read_text() + traced.stdout + traced.stderr
    assert everything.count("called: kv") == 4
    assert "bootstrap-development.sh --own-secrets" in everything
    fields = entry(openbao, "dev/seen")
    assert fields["elevenlabs_api_key"] == KEY
    assert [name for name, value in fields.items() if value in everything] == []


def test_a_key_that_is_given_as_an_argument_is_refused_and_not_shown_again(openbao: RunningOpenBao) -> None:
    for arguments in ([KEY], ["--key", KEY], [f"--key={KEY}"]):
        line = complaint(run(BOOTSTRAP, *arguments, given=KEY, **environment(openbao, VAULT_KV_PATH="dev/argument")))
        assert "the key is never one" in line
        assert KEY not in line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "the key is empty"),
        ("\n\n", "the key is empty"),
        ("sk_canary one", "a blank, a line break or another character"),
        ("sk_canary\nanother\n", "a blank, a line break or another character"),
        ("sk_canary\r\n", "a blank, a line break or another character"),
        ("sk_canärý", "a blank, a line break or another character"),
        ("sk_canary" * 1000, "the key has 9000 characters"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_in_one_line_and_nothing_is_written(
    openbao: RunningOpenBao, given: str, said: str
) -> None:
    version = openbao.put("dev/bad", elevenlabs_api_key="good")
    line = complaint(run(BOOTSTRAP, given=given, **environment(openbao, VAULT_KV_PATH="dev/bad")))
    assert said in line
    assert "nothing was written" in line
    assert "canary" not in line
    assert openbao.put("dev/bad", elevenlabs_api_key="good") == version + 1


@pytest.mark.parametrize(
    "address",
    [
        "https://vault.example.com:8200",
        "http://10.1.2.3:8200",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://[::2]:8200",
        "http://0.0.0.0:8200",
        "http://",
        "http://vault:8200@vault.example.com",
        "vault:8200",
    ],
)
def test_a_vault_that_is_not_for_development_is_refused_before_it_is_asked_anything(
    openbao: RunningOpenBao, address: str, onlooker: tuple[dict[str, str], Path]
) -> None:
    in_place, seen = onlooker
    line = complaint(run(BOOTSTRAP, given=KEY, **environment(openbao, **in_place, VAULT_ADDR=address)))
    assert "VAULT_ADDR" in line or "does not look like a Vault for development" in line
    assert not seen.exists()


def test_force_writes_to_any_vault(openbao: RunningOpenBao) -> None:
    address = openbao.url.replace("127.0.0.1", "0.0.0.0")
    variables = environment(openbao, VAULT_KV_PATH="dev/forced", VAULT_ADDR=address)
    assert "FORCE=1" in complaint(run(BOOTSTRAP, given=KEY, **variables))
    run_well(BOOTSTRAP, given=KEY, **variables, FORCE="1")
    assert entry(openbao, "dev/forced") == {"elevenlabs_api_key": KEY}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "vault", "open-bao_1"])
def test_this_machine_and_a_plain_name_are_for_development(openbao: RunningOpenBao, host: str) -> None:
    """What comes next is the question whether it answers, and at that port none does."""
    line = complaint(run(BOOTSTRAP, given=KEY, **environment(openbao, VAULT_ADDR=f"http://{host}:9")))
    assert "does not answer" in line


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ([], {"VAULT_TOKEN": "wrong"}, "not logged in"),
        ([], {"VAULT_ADDR": ""}, "VAULT_ADDR is not set"),
        ([], {"VAULT_CLI": "no-such-program"}, "is not a program"),
        ([], {"VAULT_KV_MOUNT": "nowhere"}, "nothing is mounted at nowhere/"),
        ([], {"VAULT_KV_PATH": "-cas=1"}, "is no name or path"),
        ([], {"VAULT_ELEVENLABS_KEY_FIELD": "a=b"}, "is no name or path"),
        (["--key-file"], {}, "needs the name of a file"),
        (["--key-file", "/no/such/file"], {}, "cannot be read"),
        (["--key-file", "/"], {}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    openbao: RunningOpenBao, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    line = complaint(run(BOOTSTRAP, *arguments, given=KEY, **environment(openbao, **variables)))
    assert line.startswith("bootstrap-development.sh: ")
    assert said in line


def test_who_may_not_write_is_told_so(openbao: RunningOpenBao) -> None:
    openbao.put("dev/denied", elevenlabs_api_key="old")
    reader = openbao.make_token(policies=[openbao.reading_policy("secret/data/dev/denied")])
    variables = environment(openbao, VAULT_KV_PATH="dev/denied", VAULT_TOKEN=reader)
    line = complaint(run(BOOTSTRAP, given=KEY, **variables))
    assert "cannot write elevenlabs_api_key to secret/dev/denied" in line
    assert "permission denied" in line
    assert KEY not in line


def test_a_sealed_vault_is_named_as_such(start_openbao: StartOpenBao) -> None:
    openbao = start_openbao()
    openbao.seal()
    assert "is sealed or not initialised" in complaint(run(BOOTSTRAP, given=KEY, **environment(openbao)))


class Terminal:
    """The script at a terminal, as a person has it before them."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int, device: int) -> None:
        self.process = process
        self.shown = ""
        self._screen, self._device = screen, device

    def wait_for(self, text: str) -> None:
        """Read until `text` is on the screen."""
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            ready, _, _ = select.select([self._screen], [], [], end - time.monotonic())
            assert ready, self.shown
            self.shown += os.read(self._screen, 4096).decode()

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def shows_what_is_typed(self) -> bool:
        local_flags: int = termios.tcgetattr(self._device)[3]
        return bool(local_flags & termios.ECHO)


@contextmanager
def at_a_terminal(*arguments: str, **variables: str) -> Iterator[Terminal]:
    screen, device = pty.openpty()
    # Who runs the tests behind an `&` ignores Ctrl-C, and a shell cannot trap what is ignored when it starts.
    command = ["env", "--default-signal=INT", "setsid", "--ctty", "--wait", "/bin/sh", str(BOOTSTRAP), *arguments]
    process = subprocess.Popen(command, env=variables, stdin=device, stdout=device, stderr=device)
    try:
        yield Terminal(process, screen, device)
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(screen)
        os.close(device)


def test_at_a_terminal_it_asks_and_what_is_typed_is_not_shown(openbao: RunningOpenBao) -> None:
    with at_a_terminal(**environment(openbao, VAULT_KV_PATH="dev/typed")) as terminal:
        terminal.wait_for("ElevenLabs key (it is not shown): ")
        assert not terminal.shows_what_is_typed()
        terminal.type(f"{KEY}\n")
        terminal.wait_for("was written to secret/dev/typed.")
        assert terminal.process.wait(SECONDS) == 0
        assert terminal.shows_what_is_typed()
        assert KEY not in terminal.shown
    assert entry(openbao, "dev/typed") == {"elevenlabs_api_key": KEY}


def test_ctrl_c_at_the_prompt_leaves_the_terminal_as_it_was(openbao: RunningOpenBao) -> None:
    with at_a_terminal(**environment(openbao, VAULT_KV_PATH="dev/interrupted")) as terminal:
        terminal.wait_for("ElevenLabs key (it is not shown): ")

        def has_ended() -> bool:
            # Again, as a person would: a shell misses the signal that comes between its prompt and its waiting. And
            # no sooner than a person: each one also ends the `stty` with which the shell answers the one before.
            terminal.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                terminal.process.wait(2.0)
            return terminal.process.poll() is not None

        wait_until(has_ended, SECONDS, "its end")
        assert terminal.process.returncode == 130
        assert terminal.shows_what_is_typed()


def test_help_needs_no_vault() -> None:
    done = run(BOOTSTRAP, "--help", PATH="/usr/bin:/bin")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: bootstrap-development.sh")
