"""docker-compose.production.yml, as docs/deployment.md says it: Vault initialised, unsealed, its AppRole made, a key.

The key decision: the sandbox is the ElevenLabs of this test too, and takes one key only: so a conversation shows that
the key came out of Vault by way of the AppRole. Then Vault is started again, which nobody may notice.
"""

from __future__ import annotations

import json
from pathlib import Path

from scripts.image_test import checks
from scripts.image_test.commands import StepError
from scripts.image_test.machine import Machine
from scripts.image_test.stack import Stack

FILES = ("docker-compose.yml", "docker-compose.production.yml")
SERVICES = ("setup", "migrate", "service", "dashboard", "sandbox", "front", "valkey", "postgres", "vault")
READY_SECONDS = 90.0
_KEY = "sandbox-key-of-production"


def check(machine: Machine, authority: Path) -> str:
    """Bring it up sealed, do the steps, hold a conversation, start Vault again, hold another one."""
    with Stack(machine, files=(*FILES, _override(machine)), COMPOSE_PROFILES="sandbox") as stack:
        stack.compose("up", "-d", "--no-build", "--pull", "never", "setup", "vault", limit=120)
        stack.wait(lambda: "vault" in stack.healthy(), "Vault answers", 60)
        shares = json.loads(stack.execute("vault", "bao", "operator", "init", "-key-shares=1", "-key-threshold=1",
                                          "-format=json"))  # fmt: skip
        _unseal(stack, shares)
        login = f"BAO_TOKEN={shares['root_token']} VAULT_TOKEN={shares['root_token']}"
        stack.execute("vault", "sh", "-c", f"{login} sh /opt/vocero/compose-vault/prepare.sh")
        give = "sh /opt/vocero/vault/bootstrap-development.sh --own-secrets"
        stack.execute("vault", "sh", "-c", f"printf %s {_KEY} | {login} {give}")
        # podman tells a network's name where Docker tells its id; because of that Compose would make every container
        # anew, and a new Vault is sealed.
        stack.up("--no-recreate", services=SERVICES)
        authority.write_text(stack.one_shot("setup", "authority"))
        checks.conversation(stack, authority)
        stack.compose("restart", "vault", limit=60)
        stack.wait(lambda: _is_sealed(stack), "Vault sealed", 30)
        checks.conversation(stack, authority)
        _unseal(stack, shares)
        stack.wait(lambda: _is_ready(stack), "the service ready", READY_SECONDS)
        if "development" in stack.compose("logs", "--no-color", "vault"):
            raise StepError("Vault runs for development")
    return "raft, TLS and AppRole; a sealed Vault in between is not noticed"


def _override(machine: Machine) -> str:
    """The sandbox as ElevenLabs, by variables, as an operator would name another region."""
    path = machine.folder / "production-test.yml"
    settings = {
        "ELEVENLABS_BASE_URL": "http://sandbox:8011",
        "ELEVENLABS_AGENT_ID": "agent_demo",
        "VOCERO_PUBLIC_AGENTS": "agent_demo",
    }
    sandbox = ["python", "-m", "sandbox", "--host", "0.0.0.0", "--api-key", _KEY]
    changes = {"service": {"environment": settings}, "sandbox": {"command": sandbox}}
    path.write_text(json.dumps({"services": changes}))
    return str(path)


def _unseal(stack: Stack, shares: dict[str, list[str]]) -> None:
    stack.execute("vault", "bao", "operator", "unseal", shares["unseal_keys_b64"][0])


def _is_ready(stack: Stack) -> bool:
    try:
        stack.execute("service", "python3", "-IS", "/app/scripts/health.py", "8001", "/readyz")
    except StepError:
        return False
    return True


def _is_sealed(stack: Stack) -> bool:
    try:
        status = stack.execute("vault", "sh", "-c", "bao status -format=json || true")
        return bool(json.loads(status)["sealed"])
    except (StepError, ValueError, KeyError):
        return False
