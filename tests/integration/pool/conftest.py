"""Upstreams with and without TLS, and `ElevenLabsService` with pools before them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from tests.integration.pool.warm_upstream import WarmUpstream
from tests.keys import one_key


@pytest.fixture(scope="package")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="package")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(params=["plain", "tls"])
def upstream(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[WarmUpstream]:
    context = None
    if request.param == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    with WarmUpstream(context) as upstream:
        yield upstream


@pytest.fixture
def start_elevenlabs(upstream: WarmUpstream, ca_file: str) -> Iterator[Callable[..., ElevenLabsService]]:
    with ExitStack() as stack:

        def start(**options: Any) -> ElevenLabsService:
            given = {
                "keys": one_key("sk_invented"),
                "default_agent_id": "agent_one",
                "ca_bundle": ca_file,
                # What is counted here is what the connections do by themselves.
                "retrier": Retrier(RetryPolicy(attempts=1), budget=RetryBudget()),
                **options,
            }
            return stack.enter_context(ElevenLabsService(upstream.url, **given))

        yield start
