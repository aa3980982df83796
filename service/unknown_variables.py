"""Variables that look like ours and mean nothing: whoever set one believes that it does something.

The key decision: they warn and do not stop the start. A variable of the next version, set before a rollback, must not
keep the old version from running.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from service.config import Settings
from service.variables import names_in, secrets_folder, set_names

ELSEWHERE = frozenset({
    # The dashboard
    "VOCERO_DASHBOARD_HOST", "VOCERO_DASHBOARD_IDLE_SECONDS", "VOCERO_DASHBOARD_LOGIN_THREADS",
    "VOCERO_DASHBOARD_PORT", "VOCERO_DASHBOARD_SESSION_SECONDS", "VOCERO_DASHBOARD_STREAMS",
    "VOCERO_DASHBOARD_TRUSTED_PROXIES", "VOCERO_DASHBOARD_URL", "VOCERO_OIDC_ADMIN_GROUPS", "VOCERO_OIDC_CLIENT_ID",
    "VOCERO_OIDC_CLIENT_SECRET", "VOCERO_OIDC_GROUPS_CLAIM", "VOCERO_OIDC_ISSUER", "VOCERO_OIDC_NAME",
    "VOCERO_OIDC_OPERATOR_GROUPS", "VOCERO_OIDC_SCOPES", "VOCERO_OIDC_VIEWER_GROUPS",
    # `make run`
    "VOCERO_SANDBOX_PORT", "VOCERO_STATE_DIR",
    # The rollback
    "VOCERO_ROLLBACK_DIR",
})  # fmt: skip
"""What other programs of ours read, which the service knows nothing else of; a test holds it to their settings."""

_BEGIN = "VOCERO_"
_ALIKE = 0.75
_KUBERNETES = re.compile(r"VOCERO_(\w+_)?(SERVICE_(HOST|PORT)\w*|PORT_\d+_(TCP|UDP|SCTP)\w*)")


def known() -> frozenset[str]:
    """Every variable that a program of ours reads."""
    return ELSEWHERE | {field.alias or name for name, field in Settings.model_fields.items()}


def complaints(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable, or file of secrets, that begins with our name and is none of ours.

    Raises:
        SettingsError: the folder of secrets cannot be read.
    """
    names = {name: "" for name in set_names(environment) if name.upper().startswith(_BEGIN)}
    folder = secrets_folder(environment)
    if folder is not None:
        names |= {name: f" (a file in {folder})" for name in names_in(folder) if name.startswith(_BEGIN)}
    unknown = sorted(names.keys() - known())
    links = [name for name in unknown if _KUBERNETES.fullmatch(name)]
    said = [f"{name}{names[name]} is no variable of Vocero's and does nothing{_hint(name)}" for name in unknown]
    said = [sentence for name, sentence in zip(unknown, said, strict=True) if name not in links]
    if links:
        said.append(
            f"{len(links)} variables such as {links[0]} are Kubernetes' service links, which do nothing here and may"
            " be taken for ours: set enableServiceLinks to false."
        )
    return said


def _hint(name: str) -> str:
    alike = difflib.get_close_matches(name.upper(), sorted(known()), n=1, cutoff=_ALIKE)
    return f"; did you mean {alike[0]}?" if alike else "."
