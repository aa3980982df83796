"""What the checks look at: real parts, of which each test breaks one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from service.__main__ import main
from service.variables import OURS
from tests.servers import free_port, run_module

SECRET = "invalid-hunter2-that-nobody-may-see"
"""The sandbox refuses keys that begin so."""


@dataclass(frozen=True)
class Said:
    """What `python -m service` said and ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def states(self, what: str) -> list[tuple[str, str]]:
        """(state, said) of each finding of `what`."""
        return [(each["state"], each["said"]) for each in self.json["findings"] if each["what"] == what]


Ask = Callable[..., Said]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What `python -m service` says with these arguments and settings; in this process, which has imported it all."""

    def run(*arguments: str, **settings: str) -> Said:
        with monkeypatch.context() as patched:
            for name in list(os.environ):
                if name.startswith(OURS):
                    patched.delenv(name)
            for name, value in settings.items():
                patched.setenv(name, value)
            patched.setattr(os, "environ", os.environ.copy())  # what an .env fills goes with it
            code = main(arguments)
        captured = capsys.readouterr()
        assert SECRET not in captured.out + captured.err
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def command() -> Ask:
    """The same as a process of its own, as an operator has it."""

    def run(*arguments: str, **settings: str) -> Said:
        done = run_module("service", *arguments, **settings)
        assert SECRET not in done.stdout + done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def well(service_settings: dict[str, str]) -> dict[str, str]:
    """Settings of which nothing is wrong."""
    ports = {"VOCERO_PORT": str(free_port()), "VOCERO_OPS_PORT": str(free_port())}
    return {**service_settings, **ports, "VOCERO_FALLBACK_CHAIN": "elevenlabs"}
