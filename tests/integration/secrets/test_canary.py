"""Values that nobody else may have go through the whole service, and are then looked for wherever they could lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from migrations import runner
from scripts.launcher.waiting import wait_until
from service.storage import ApiKeys, open_database
from tests.conftest import StartOpenBao, StartService
from tests.integration.conversation.conftest import INITIATION
from tests.integration.elevenlabs.scripted_upstream import Peer, ScriptedUpstream
from tests.integration.secrets.conftest import LIMIT, VOICE, readiness, vault_settings
from tests.servers import descendants_of, free_port

CANARIES = {
    "elevenlabs_api_key": "sk_canary-7a31-elevenlabs",
    "ticket_signing_key": "canary-7a31-tickets",
}
LATER = "sk_canary-7a31-rotated"


def misbehave(peer: Peer) -> None:
    """An upstream that quotes the request back, breaks off, and makes no sense, in turn."""
    for number in range(1_000_000):
        request = peer.read_request()
        if request is None:
            return
        quoted = repr(request.headers).encode()
        if number % 4 == 0:
            peer.answer(quoted, "401 Unauthorized", content_type="application/json")
        elif number % 4 == 1:
            peer.answer(quoted, "500 Internal Server Error", content_type="text/plain")
        elif number % 4 == 2:
            peer.send(b"HTTP/1.1 nonsense " + quoted + b"\r\n\r\n")
            return
        else:
            peer.answer(quoted, content_type="text/html")


def everything_in_redis(url: str) -> bytes:
    store = redis.Redis.from_url(url)
    try:
        keys = list(store.scan_iter(count=1000))
        return b"\n".join([*keys, *(store.dump(key) or b"" for key in keys)])
    finally:
        store.close()


def everything_about_processes(pids: list[int]) -> bytes:
    found = b""
    for pid in pids:
        for name in ("environ", "cmdline"):
            found += Path(f"/proc/{pid}/{name}").read_bytes()
    return found


def test_no_secret_is_found_in_logs_metrics_pages_redis_database_environment_or_arguments(
    start_openbao: StartOpenBao, start_service: StartService, tmp_path: Path
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", **CANARIES)
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="1h")
    secret_id_file = tmp_path / "secret-id"
    secret_id_file.write_text(secret_id)
    database_url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(database_url)
    database = open_database(database_url, busy_seconds=20)
    _, api_key = ApiKeys(database).create("canary")
    database.close()
    ops_port = free_port()
    settings: dict[str, Any] = vault_settings(
        openbao,
        VAULT_ROLE_ID=role_id,
        VAULT_SECRET_ID_FILE=str(secret_id_file),
        VAULT_TICKET_SIGNING_KEY_FIELD="ticket_signing_key",
    )
    with ScriptedUpstream(misbehave) as upstream:
        service = start_service(
            **settings,
            ELEVENLABS_API_KEY="",
            ELEVENLABS_BASE_URL=upstream.url,
            VOCERO_DATABASE_URL=database_url,
            VOCERO_OPS_PORT=str(ops_port),
            VOCERO_WORKERS="2",
            SECRETS_POLL_SECONDS="1",
        )
        pages = [repr(readiness(service))]
        headers = {"xi-api-key": api_key}
        good = {"text": "Good morning."}
        speech = f"{service.url}/v1/text-to-speech/{VOICE}"
        for body in (good, {"text": ""}, [], "no JSON"):
            for _ in range(4):
                answer = requests.post(speech, headers=headers, json=body, timeout=LIMIT)
                pages.append(answer.text + repr(answer.headers))
        signed = requests.get(
            f"{service.url}/v1/convai/conversation/get-signed-url?agent_id=agent_demo", headers=headers, timeout=LIMIT
        )
        pages.append(signed.text)
        for address in (signed.json()["signed_url"], f"{service.ws_url}/v1/convai/conversation?agent_id=agent_demo"):
            with connect(address) as client, pytest.raises(ConnectionClosed) as closed:
                client.send(INITIATION)
                while True:
                    pages.append(str(client.recv(LIMIT)))
            pages.append(str(closed.value))
        openbao.put("vocero", **{**CANARIES, "elevenlabs_api_key": LATER})
        wait_until(lambda: service.log().count('"secrets have changed"') == 2, LIMIT, "both workers have the new key")
        pages += [requests.post(speech, headers=headers, json=good, timeout=LIMIT).text for _ in range(4)]
        openbao.put("vocero", **{**CANARIES, "elevenlabs_api_key": f"{LATER}\n"})
        service.wait_for_log('"bad_value"')
        metrics = requests.get(f"http://127.0.0.1:{ops_port}/metrics", timeout=LIMIT).text
        used = {request.headers["xi-api-key"] for request in upstream.requests}
        places = {
            "pages": "\n".join(pages).encode(),
            "metrics": metrics.encode(),
            "redis": everything_in_redis(service.environment["VOCERO_REDIS_URL"]),
            "processes": everything_about_processes([service.child.pid, *descendants_of(service.child.pid)]),
            "database": b"".join(file.read_bytes() for file in tmp_path.glob("vocero.db*")),
        }
        service.stop()
    places["log"] = service.log().encode()
    assert used >= {CANARIES["elevenlabs_api_key"], LATER}, "the canaries were really on their way"
    assert b"vocero:ticket:" in places["redis"]
    assert b"VAULT_ADDR" in places["processes"]
    assert b"secrets have changed" in places["log"]
    for name, text in places.items():
        assert b"canary-7a31" not in text, name
        assert secret_id.encode() not in text, name
