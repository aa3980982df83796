"""Logging in as a service account: a real Vault API asks a cluster's API, which is ours, whether the token is good.

A cluster is the one part that cannot be had here; what is played is its TokenReview answer alone.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from scripts.launcher.waiting import wait_until
from service.metrics import FailureCause
from service.secret import SecretName
from tests.conftest import StartOpenBao
from tests.integration.secrets.conftest import LIMIT, StartManager, vault_settings

ACCOUNT = {"namespace": "voice", "serviceaccount": {"name": "vocero", "uid": "1-2-3"}}


def token_of_the_account() -> str:
    """Shaped like a projected service account's; whether it is genuine is for the cluster to say."""
    parts = (
        {"alg": "RS256", "kid": "one"},
        {"aud": ["vault"], "exp": 4_102_444_800, "iat": 1, "iss": "cluster", "kubernetes.io": ACCOUNT, "sub": "x"},
    )
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


class TokenReviews(BaseHTTPRequestHandler):
    """Says of each token that is asked about what `good` says."""

    good: str = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_good = asked["spec"]["token"] == type(self).good
        user = {"username": "system:serviceaccount:voice:vocero", "uid": "1-2-3", "groups": ["system:serviceaccounts"]}
        status = {"authenticated": is_good, **({"user": user, "audiences": ["vault"]} if is_good else {})}
        answer = json.dumps(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        ).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest's output is for other things."""


@pytest.fixture
def cluster() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenReviews)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_account_logs_in_and_its_token_is_read_again_each_time(
    start_openbao: StartOpenBao, start_manager: StartManager, cluster: str, tmp_path: Path
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    client = openbao.client()
    client.sys.enable_auth_method("kubernetes")
    client.auth.kubernetes.configure(
        kubernetes_host=cluster,
        kubernetes_ca_cert=trustme.CA().cert_pem.bytes().decode(),
        disable_local_ca_jwt=True,
        token_reviewer_jwt=token_of_the_account(),
    )
    client.auth.kubernetes.create_role(
        "vocero",
        bound_service_account_names=["vocero"],
        bound_service_account_namespaces=["voice"],
        policies=[openbao.reading_policy()],
        ttl="4s",
        max_ttl="4s",
    )
    TokenReviews.good = token_of_the_account()
    file = tmp_path / "token"
    file.write_text("not.a.token")
    manager = start_manager(
        vault_settings(openbao, VAULT_KUBERNETES_ROLE="vocero", VAULT_KUBERNETES_TOKEN_FILE=str(file))
    )
    wait_until(lambda: manager.status().last_cause == FailureCause.LOGIN_REFUSED, LIMIT, "the refusal")
    file.write_text(token_of_the_account())
    assert manager.wait_until_read(LIMIT)
    assert manager.current(SecretName.ELEVENLABS_API_KEY).reveal() == "sk_one"
    wait_until(lambda: openbao.count_requests("auth/kubernetes/login", failed=False) >= 2, LIMIT, "a second login")
    assert token_of_the_account() not in repr(manager.status())
