"""A response-wrapped secret id, unwrapped once for all workers of a node.

The key decision: a wrapping token opens once, but every worker logs in for itself. So what was unwrapped lies in the
memory that they share: the first one to come unwraps, the others read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault.node_memory import NodeMemory

LOCK_SECONDS = 10.0
"""More than unwrapping takes: two answers of Vault's at the default VAULT_TIMEOUT_SECONDS."""


class UnwrappedSecretIds:
    """What came of the newest wrapping token: its secret id, or that it was refused. It lies in `memory`."""

    def __init__(self, memory: NodeMemory) -> None:
        self._memory = memory

    def secret_id(self, wrapping_token: Secret, unwrap: Callable[[Secret], Secret]) -> Secret:
        """The secret id of `wrapping_token`: what was kept, or what `unwrap` brings now.

        Raises:
            SecretsSourceError: what `unwrap` raised. WRAP_USED is kept, so that nobody asks in vain again.
        """
        try:
            with self._memory.held(LOCK_SECONDS):
                return self._secret_id(wrapping_token, unwrap)
        except TimeoutError:
            raise SecretsSourceError(
                f"Another worker did not finish unwrapping the secret id within {LOCK_SECONDS:g} s.",
                cause=FailureCause.TIMEOUT,
            ) from None

    def _secret_id(self, wrapping_token: Secret, unwrap: Callable[[Secret], Secret]) -> Secret:
        name = hashlib.sha256(wrapping_token.reveal().encode()).hexdigest()
        kept = self._read()
        if kept.get("name") == name:
            if "refusal" in kept:
                raise SecretsSourceError(kept["refusal"], cause=FailureCause.WRAP_USED)
            return Secret(kept["secret_id"])
        try:
            found = unwrap(wrapping_token)
        except SecretsSourceError as exc:
            if exc.cause == FailureCause.WRAP_USED:
                self._write({"name": name, "refusal": str(exc)})
            raise
        self._write({"name": name, "secret_id": found.reveal()})
        return found

    def _read(self) -> dict[str, str]:
        data = self._memory.read()
        found: dict[str, str] = json.loads(data) if data else {}
        return found

    def _write(self, fields: dict[str, str]) -> None:
        self._memory.write(json.dumps(fields).encode())
