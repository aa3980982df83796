"""What `make run` decides from the environment before it starts anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.launcher.banner import Entrance, banner
from scripts.launcher.plan import make_plan

SHUT = Entrance(is_open=False)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without our settings, put back afterwards."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOCERO_", "ELEVENLABS_"))}
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.clear()
    os.environ.update(kept)


def test_with_nothing_set_everything_is_brought_along(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, tmp_path / ".env")
    assert plan.sandbox_port == 8011
    assert plan.valkey_socket == tmp_path / ".vocero" / "valkey" / "valkey.sock"
    assert plan.environment["VOCERO_DATABASE_URL"] == f"sqlite:///{tmp_path}/.vocero/vocero.db"
    assert plan.environment["VOCERO_PUBLIC_AGENTS"] == "agent_demo,agent_text"
    assert plan.environment["VOCERO_SANDBOX"] == "true"


def test_a_file_fills_what_the_environment_leaves_open_and_empty_values_count_as_unset(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("ELEVENLABS_API_KEY=\nVOCERO_PORT=8123\nVOCERO_IDLE_SECONDS=30\n")
    os.environ["VOCERO_PORT"] = "8124"
    os.environ["VOCERO_REDIS_URL"] = ""
    plan = make_plan(tmp_path, file)
    assert plan.settings.port == 8124
    assert plan.settings.idle_seconds == 30
    assert plan.sandbox_port is not None
    assert plan.valkey_socket is not None


def test_with_a_key_and_an_agent_there_is_no_sandbox_and_no_agent_becomes_public(tmp_path: Path) -> None:
    os.environ |= {"ELEVENLABS_API_KEY": "hunter2", "ELEVENLABS_AGENT_ID": "agent_mine"}
    plan = make_plan(tmp_path, tmp_path / ".env")
    assert plan.sandbox_port is None
    assert not plan.settings.sandbox
    assert plan.settings.elevenlabs_base_url == "https://api.elevenlabs.io"
    assert plan.settings.public_agents == frozenset()
    told = banner(plan, "vocero_key", SHUT)
    assert "real, with your key: https://api.elevenlabs.io, agent agent_mine" in told
    assert "SANDBOX" not in told
    assert "hunter2" not in told


def test_what_the_user_has_set_is_left_alone(tmp_path: Path) -> None:
    theirs = {
        "VOCERO_REDIS_URL": "redis://127.0.0.1:1/3",
        "VOCERO_DATABASE_URL": "postgresql+psycopg://u@127.0.0.1:1/d",
        "VOCERO_PUBLIC_AGENTS": "agent_text",
        "ELEVENLABS_AGENT_ID": "agent_text",
    }
    os.environ |= theirs
    plan = make_plan(tmp_path, tmp_path / ".env")
    assert {name: plan.environment[name] for name in theirs} == theirs
    assert plan.valkey_socket is None
    assert not plan.has_own_database


def test_the_metrics_have_an_address_unless_there_is_no_ops_listener(tmp_path: Path) -> None:
    os.environ |= {"VOCERO_OPS_HOST": "0.0.0.0", "VOCERO_OPS_PORT": "8101"}
    plan = make_plan(tmp_path, tmp_path / ".env")
    assert "http://localhost:8101/metrics" in banner(plan, "vocero_key", SHUT)
    os.environ["VOCERO_OPS_PORT"] = "0"
    plan = make_plan(tmp_path, tmp_path / ".env")
    assert "none (VOCERO_OPS_PORT=0)" in banner(plan, "vocero_key", SHUT)


def test_the_dashboard_tells_how_to_enter_and_the_password_only_when_it_is_new(tmp_path: Path) -> None:
    os.environ["VOCERO_DASHBOARD_PORT"] = "8102"
    plan = make_plan(tmp_path, tmp_path / ".env")
    new = banner(plan, "vocero_key", Entrance(is_open=True, password="hunter2hunter2"))
    assert "http://127.0.0.1:8102/" in new
    assert "hunter2hunter2 (shown this once)" in new
    assert "reset-password admin" in banner(plan, "vocero_key", Entrance(is_open=True))
    assert "create NAME --role admin" in banner(plan, "vocero_key", SHUT)
    os.environ["VOCERO_DASHBOARD_PORT"] = "0"
    assert "none (VOCERO_DASHBOARD_PORT=0)" in banner(make_plan(tmp_path, tmp_path / ".env"), "vocero_key", SHUT)


def test_a_folder_too_deep_for_a_socket_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    os.environ["VOCERO_STATE_DIR"] = str(deep)
    plan = make_plan(tmp_path, tmp_path / ".env")
    assert plan.valkey_socket is not None
    assert deep not in plan.valkey_socket.parents
    plan.valkey_socket.parent.rmdir()
