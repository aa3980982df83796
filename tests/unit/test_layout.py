"""The rules of the house that no other tool holds: who knows gevent, how long a file is, what a dependency needs."""

from __future__ import annotations

import ast
import configparser
import functools
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.servers import ROOT

PACKAGES = ("service", "dashboard", "sandbox", "migrations", "scripts", "grafana")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
GEVENT_DOORS = {
    "dashboard/gunicorn_conf.py",
    "dashboard/wsgi.py",
    "sandbox/__main__.py",
    "service/gunicorn_conf.py",
    "service/gunicorn_worker.py",
    "service/wsgi.py",
}
DUMPING_GROUNDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
CLOCK = {"sleep", "time", "monotonic", "perf_counter"}
LONGEST_MODULE = 400


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), relative(path))


def test_only_the_entry_points_know_gevent() -> None:
    knowing = {relative(path) for path in MODULES if {"gevent", "greenlet"} & imported(parsed(path))}
    assert knowing == GEVENT_DOORS


def test_the_service_imports_neither_the_dashboard_nor_the_sandbox_nor_the_scripts() -> None:
    for path in (ROOT / "service").rglob("*.py"):
        assert not {"dashboard", "sandbox", "scripts", "tests"} & imported(parsed(path)), relative(path)


def test_a_module_says_what_it_is_for_and_is_short_enough_to_read() -> None:
    lines = {relative(path): path.read_text().count("\n") for path in MODULES}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}
    assert [relative(path) for path in MODULES if lines[relative(path)] and not ast.get_docstring(parsed(path))] == []


def test_a_module_is_not_a_dumping_ground_and_hides_no_standard_module() -> None:
    names = {relative(path): path.parent.name if path.stem == "__init__" else path.stem for path in MODULES}
    assert [path for path, name in names.items() if name in DUMPING_GROUNDS] == []
    modules = [path for path in MODULES if not path.stem.startswith("__")]
    assert [relative(path) for path in modules if path.stem in sys.stdlib_module_names] == []


def test_no_default_argument_holds_a_clock() -> None:
    """A default is bound when the module is imported, which is before gevent's patch for the entry points."""
    found: list[str] = []
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
                clocks = [each for each in defaults if isinstance(each, ast.Attribute) and each.attr in CLOCK]
                found += [f"{relative(path)}:{each.lineno}" for each in clocks]
    assert found == []


READS_VARIABLES = {ROOT / "service" / "variables.py", ROOT / "service" / "env_file.py"}
"""What stands in the place of pydantic-settings' own sources."""


def test_only_settings_are_read_from_the_environment_below_the_entry_points() -> None:
    for path in set((ROOT / "service").rglob("*.py")) - READS_VARIABLES:
        reads = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute) and node.attr == "environ"]
        names = [node.value.id for node in reads if isinstance(node.value, ast.Name)]
        assert "os" not in names, relative(path)


@functools.cache
def requirements() -> set[str]:
    """Every package that setup.cfg names, as an index spells it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    blocks = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return {canonical(line.partition("[")[0]) for line in lines if line and not line.startswith("#")}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonical(name): version for name, version in found.items()}


def documented() -> dict[str, str]:
    """Package to version, as the tables of docs/dependencies.md have them."""
    found: dict[str, str] = {}
    for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in {"package", "---"}:
            found.update({canonical(name.strip()): cells[1] for name in cells[0].split(",")})
    return found


# Imported packages that another one of ours is made with, and whose own interface shows them.
BROUGHT = {
    "annotated_types": "pydantic-settings",
    "certifi": "requests",
    "dotenv": "pydantic-settings",
    "greenlet": "gevent",
    "httpx": "elevenlabs",
    "jinja2": "flask",
    "markupsafe": "flask",
    "PIL": "matplotlib",
    "prometheus_client": "prometheus-flask-exporter",
    "pydantic": "pydantic-settings",
    "referencing": "jsonschema",
    "urllib3": "requests",
    "werkzeug": "flask",
    "wsproto": "simple-websocket",
}


def test_every_package_that_is_imported_is_a_dependency_of_ours() -> None:
    paths = [*MODULES, *(path for folder in ("tests", "benchmarks", "soak") for path in (ROOT / folder).rglob("*.py"))]
    own = {*PACKAGES, "tests", "benchmarks", "soak", *(path.stem for path in paths)}
    names = set().union(*(imported(parsed(path)) for path in paths)) - own - sys.stdlib_module_names
    owners = packages_distributions()
    undeclared = {
        name: owners.get(name)
        for name in names
        if not {canonical(owner) for owner in [BROUGHT.get(name, ""), *owners.get(name, [])]} & requirements()
    }
    assert undeclared == {}


def test_every_dependency_is_pinned() -> None:
    assert requirements() - pins().keys() == set()


def test_every_dependency_is_documented_with_the_pinned_version_and_nothing_else_is() -> None:
    written = documented()
    assert written.keys() == requirements()
    wrong = {
        name: (version, pins()[name])
        for name, version in written.items()
        if version not in {pins()[name], "see constraints.txt"}
    }
    assert wrong == {}


def test_the_javascript_lock_names_no_address_to_fetch_from() -> None:
    lock = json.loads((ROOT / "tests" / "browser" / "javascript" / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if "integrity" not in package] == []


def test_the_first_stage_needs_nothing_but_the_standard_library() -> None:
    """And it can be read by a Python that is too old to run the rest, so that it can say so."""
    source = (ROOT / "scripts" / "bootstrap.py").read_text()
    assert imported(ast.parse(source, feature_version=(3, 7))) - set(sys.stdlib_module_names) == set()


def test_make_alone_lists_every_target_with_its_purpose() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    for target in ("run", "test", "lint", "bench", "soak", "clean"):
        assert re.search(rf"^  make {target} +\S", said, re.MULTILINE), said
