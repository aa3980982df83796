"""The Dockerfile, and the lists of what goes into the image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import image_requirements
from tests.deploy.compose_files import ROOT
from tests.parts import require, require_module

FOLDER = ROOT / "deploy" / "image"
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s\\;]+)((?: ;[^\\]*)?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)
# The image's Python and system, whatever the tests run on.
IMAGE = {
    "python_version": image_requirements.PYTHON,
    "python_full_version": f"{image_requirements.PYTHON}.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def pins(path: Path) -> dict[str, str]:
    return {canonicalize_name(found[1]): found[2] for found in PIN.finditer(path.read_text())}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def everything_for(extras: tuple[str, ...]) -> set[str]:
    """What an installation with these extras comes to, by what the installed packages say of themselves."""
    found: set[str] = set()
    waiting: list[tuple[str, str]] = [("vocero", extra) for extra in ("", *extras)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        if name != "vocero":
            found.add(name)
        for line in metadata.requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker and not wanted.marker.evaluate({**default_environment(), **IMAGE, "extra": extra}):
                continue
            for more in {(canonicalize_name(wanted.name), each) for each in ("", *wanted.extras)} - seen:
                seen.add(more)
                waiting.append(more)
    return found


def test_hadolint_finds_nothing_to_say() -> None:
    program = Path(sys.executable).parent / "hadolint"
    require("hadolint", program.exists(), "pip install -e .[test]")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", sorted(image_requirements.LISTS))
def test_the_image_has_what_setup_cfg_asks_for_in_the_versions_of_constraints_txt(name: str) -> None:
    found = pins(FOLDER / name)
    for module, extra in (("espeakng_loader", "local"), ("onnxruntime", "quality"), ("opentelemetry.sdk", "traces")):
        require_module(module, extra)
    assert set(found) == everything_for(image_requirements.LISTS[name])
    known = constraints()
    assert {package: known.get(package) for package in found} == found


@pytest.mark.parametrize("name", [*image_requirements.LISTS, image_requirements.BUILD_LIST])
def test_every_line_of_a_list_is_a_version_with_hashes(name: str) -> None:
    text = (FOLDER / name).read_text()
    left = PIN.sub("", text)
    assert re.sub(r"^#.*$", "", left, flags=re.MULTILINE).strip() == ""


def test_the_base_is_the_python_that_the_lists_are_for() -> None:
    found = re.search(r"^ARG PYTHON_IMAGE=\S+/python:(\d+\.\d+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == image_requirements.PYTHON


def test_the_image_runs_as_somebody_without_rights_and_process_1_is_the_server_itself() -> None:
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r'^CMD \["gunicorn", ', last, re.MULTILINE), "a shell would keep the signals to itself"
    assert "ENTRYPOINT" not in last
    assert "HEALTHCHECK" in last


def test_only_named_folders_reach_the_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name.split("/")[0] for line in copied for name in line.split()[:-1]} == let_in
    assert {"deploy/compose/given", "**/.env*"} <= set(lines)


def test_the_parts_list_names_everything_that_is_in_the_image(tmp_path: Path) -> None:
    require_module("cyclonedx_py", "test")
    path = tmp_path / "vocero.cdx.json"
    source = FOLDER / "requirements.txt"
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "requirements",
        "--no-validate",
        "--output-reproducible",
        "-o",
        path,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    listed = json.loads(path.read_text())["components"]
    assert {canonicalize_name(part["name"]): part["version"] for part in listed} == pins(source)
    assert all(part["purl"].startswith("pkg:pypi/") for part in listed)


def test_a_release_is_not_built_on_a_tag() -> None:
    command = ["sh", str(FOLDER / "release.sh"), "vocero:1"]
    tag = {"PATH": "/usr/bin:/bin", "PYTHON_IMAGE": "python:3.13"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=tag)
    assert done.returncode == 1
    assert "by its digest" in done.stderr
