"""The Compose files: what they publish, who may do and reach what, where secrets are, and that tools can read them."""

from __future__ import annotations

import importlib.resources
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from scripts.compose_setup import readers
from scripts.parts_of_tests import COMPOSE
from service.config import load_settings
from tests.deploy.compose_files import (
    BASE,
    FILES,
    PRODUCTION,
    ROOT,
    SETTINGS,
    VARIABLE,
    environment,
    filled,
    read,
    services,
)
from tests.parts import lack, require_module, require_program

# Who writes to a folder of an image, or is root, and why it cannot do without.
ROOT_IS_NEEDED = {"setup"}
OURS = {"setup", "migrate", "service", "dashboard", "sandbox", "tools"}
SECRET = re.compile(r"password|token|secret|key|credential", re.IGNORECASE)
every_service = pytest.mark.parametrize("name", sorted(services()))


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command that is Docker Compose, as a plugin or by itself."""
    for command in ([str(COMPOSE)], ["docker", "compose"], ["docker-compose"]):
        try:
            done = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, timeout=30, check=False
            )
        except OSError:
            continue
        if done.returncode == 0 and int(done.stdout.strip().lstrip("v").split(".")[0]) >= 2:
            return command
    return lack("Docker Compose 2", "make parts, as root on Debian with CI=true")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_schema_of_compose_files_has_nothing_against_it(path: Path) -> None:
    require_module("check_jsonschema", "test")
    package = importlib.resources.files("check_jsonschema")
    schema = json.loads((package / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())
    found = [f"{each.json_path}: {each.message}" for each in Draft7Validator(schema).iter_errors(read(path))]
    assert found == []
    broken = {**read(path), "services": {"service": {"image": 1}}}
    assert not Draft7Validator(schema).is_valid(broken), "the schema would take anything"


def test_compose_itself_takes_the_files(compose: list[str]) -> None:
    command = [*compose, "-f", str(BASE), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment(), cwd="/")
    assert json.loads(done.stdout)["services"].keys() == services().keys() - {"tools"}


def test_production_wants_the_names_that_users_call(compose: list[str]) -> None:
    command = [*compose, "-f", str(BASE), "-f", str(PRODUCTION), "config", "--format", "json"]
    names = {f"VOCERO_FRONT_{name}": "x.example" for name in ("NAME", "URL", "DASHBOARD_NAME", "DASHBOARD_URL")}
    for name in names:
        given = {**environment(), **{other: value for other, value in names.items() if other != name}}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=given, cwd="/")
        assert done.returncode != 0
        assert name in done.stderr
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, env={**environment(), **names}, cwd="/"
    )
    merged = json.loads(done.stdout)["services"]
    assert merged["service"]["environment"]["VAULT_ADDR"] == "https://vault:8200"
    assert merged["service"]["environment"]["VOCERO_DEVELOPMENT"] == "false"
    assert merged["service"]["depends_on"]["vault"]["condition"] == "service_started"
    assert "sandbox" not in merged


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_front_and_grafana_are_published_and_on_loopback(path: Path) -> None:
    published = {name: each["ports"] for name, each in services(path).items() if "ports" in each}
    assert set(published) <= {"front", "grafana"}
    for port in (port for ports in published.values() for port in ports):
        assert filled(port).startswith("127.0.0.1:"), port
    assert not any("container_name" in each for each in services(path).values()), "--scale needs names of its own"


def test_only_what_must_call_out_has_a_way_out() -> None:
    networks = read(BASE)["networks"]
    outward = {name for name, network in networks.items() if not network.get("internal")}
    assert outward == {"outside", "published"}
    has_way_out = {name for name, each in services().items() if outward & set(each.get("networks", []))}
    assert has_way_out == {"service", "dashboard", "alertmanager", "front", "grafana"}
    assert services()["setup"]["network_mode"] == "none"


@every_service
def test_a_container_has_no_rights_and_writes_nowhere_but_where_it_must(name: str) -> None:
    each = services()[name]
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert (each["user"].split(":")[0] == "0") == (name in ROOT_IS_NEEDED)
    assert ("cap_add" in each) == (name in ROOT_IS_NEEDED)
    assert not each.get("privileged")
    assert not any("docker.sock" in volume for volume in each.get("volumes", []))


@every_service
def test_a_container_is_bounded_and_leaves_in_its_time(name: str) -> None:
    each = services()[name]
    limits = each["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert each["logging"]["options"].keys() == {"max-size", "max-file"}
    if name == "service":
        assert int(each["stop_grace_period"].rstrip("s")) > load_settings().graceful_seconds
    has_health = "test" in each["healthcheck"]
    assert has_health != (name in {"setup", "migrate", "tools"})
    assert not has_health or each["healthcheck"]["test"][0] == "CMD-SHELL"


@every_service
def test_what_a_container_needs_is_there_before_it(name: str) -> None:
    needs = services()[name].get("depends_on", {})
    if name not in {"setup", "sandbox"}:
        assert needs["setup"]["condition"] == "service_completed_successfully"
    for other, need in needs.items():
        one_shot = services()[other]["restart"] == "no"
        assert need["condition"] == ("service_completed_successfully" if one_shot else "service_healthy")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_secret_is_a_variable_a_label_or_an_argument(path: Path) -> None:
    for name, each in services(path).items():
        for variable, value in each.get("environment", {}).items():
            harmless = variable.endswith(("_FILE", "__FILE", "_FIELD", "_SECONDS"))
            assert not SECRET.search(variable) or harmless or variable == "VOCERO_SECRETS_FOLDER", f"{name}: {variable}"
            assert not re.search(r"://[^/\s]*:[^/\s]*@", str(value)), f"{name}: {variable}"
        said = json.dumps([each.get("command"), each.get("entrypoint"), each.get("labels")])
        assert not re.search(r"password|token", said, re.IGNORECASE)


def test_only_its_reader_has_a_secret() -> None:
    mounted = {
        name: [volume for volume in each.get("volumes", []) if volume.startswith("secrets-")]
        for name, each in services().items()
        if name != "setup"
    }
    for name, volumes in mounted.items():
        assert len(volumes) <= 1, name
        assert all(volume.endswith(":ro") for volume in volumes)
    assert [name for name, each in services().items() if "kept:/kept" in each.get("volumes", [])] == ["setup"]


def test_files_belong_to_the_users_that_containers_run_as() -> None:
    names = {f"secrets-{reader.name}": f"{reader.user}:{reader.group}" for reader in readers.READERS}
    for name, each in services().items():
        for volume in each.get("volumes", []):
            owner = names.get(volume.split(":")[0])
            assert owner is None or name == "setup" or each["user"] == owner, name
    handed_out = [volume.split(":") for volume in services()["setup"]["volumes"] if volume.startswith("secrets-")]
    assert {target.removeprefix("/secrets/") for _, target in handed_out} == {reader.name for reader in readers.READERS}


def test_every_image_stands_in_one_place_with_a_version_and_a_variable() -> None:
    images = read(BASE)["x-images"]
    text = BASE.read_text()
    for name, image in images.items():
        assert text.count(image) == 1, name
        variable, default = VARIABLE.fullmatch(image).group(1, 3)  # type: ignore[union-attr]
        assert variable.startswith("VOCERO_")
        assert variable.endswith("IMAGE")
        assert name == "vocero" or re.fullmatch(r"docker\.io/[a-z/]+:v?\d+\.\d+[\w.-]*", default), default
    assert {each["image"] for each in services().values()} <= set(images.values())
    pinned = (ROOT / "deploy" / "compose" / "pin-images.sh").read_text()
    theirs = "".join(image for name, image in images.items() if name != "vocero")
    assert set(re.findall(r"VOCERO_[A-Z]+_IMAGE", pinned)) == {found[1] for found in VARIABLE.finditer(theirs)}


def test_every_variable_is_told_of_with_the_default_that_counts() -> None:
    told = dict(SETTINGS.findall((ROOT / "deploy" / "compose" / ".env.example").read_text()))
    used: dict[str, str] = {}
    for path in FILES:
        for name, kind, default in VARIABLE.findall(path.read_text()):
            if kind == "-":
                assert used.setdefault(name, default) == default, f"{name} has two defaults"
    assert {name: default for name, default in told.items() if name != "COMPOSE_FILE"} == used


def test_a_container_of_ours_is_the_image_with_another_command() -> None:
    images = read(BASE)["x-images"]
    assert {name for name, each in services().items() if each["image"] == images["vocero"]} == OURS
    for name in OURS:
        each = services()[name]
        assert each["build"]["context"] == "."
        # A one-shot would not hear SIGTERM as process 1; gunicorn's master and the sandbox do.
        assert each["init"] is (each["restart"] == "no"), name


def test_settings_are_ones_that_vocero_knows() -> None:
    known = set(re.findall(r"^# ([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    for path in FILES:
        for name in {"service", "dashboard", "migrate", "tools"} & services(path).keys():
            unknown = services(path)[name].get("environment", {}).keys() - known
            assert not unknown, f"{name}: {unknown}"


def test_prometheus_differs_from_that_of_one_machine_in_addresses_alone() -> None:
    def without_addresses(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(path.read_text())
        found["rule_files"] = [Path(name).name for name in found["rule_files"]]
        for job in found["scrape_configs"]:
            job.pop("static_configs", None)
            job.pop("dns_sd_configs", None)
        found["alerting"]["alertmanagers"] = len(found["alerting"]["alertmanagers"])
        return found

    ours, one_machine = ROOT / "deploy/compose/prometheus.yml", ROOT / "deploy/prometheus/prometheus.yml"
    assert without_addresses(ours) == without_addresses(one_machine)


def test_prometheus_takes_its_configuration_with_the_rules_where_compose_mounts_them(tmp_path: Path) -> None:
    promtool = require_program("promtool", remedy="Debian's prometheus")
    mounts = [volume.split(":") for volume in services()["prometheus"]["volumes"] if volume.startswith("./")]
    for source, target, _ in mounts:
        path = tmp_path / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to((ROOT / source).resolve())
    command = [promtool, "check", "config", tmp_path / "etc/prometheus/prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == len(list((ROOT / "deploy/prometheus").glob("*.rules.yml")))
