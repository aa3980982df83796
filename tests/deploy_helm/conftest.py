"""Helm, and the chart rendered with each of the examples."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts import require_module
from tests.servers import ROOT

CHART = ROOT / "deploy" / "helm" / "vocero"
EXAMPLES = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "deploy/helm/examples").glob("*.yaml")}
RELEASE = {"name": "prod", "namespace": "voice"}

Manifest = dict[str, Any]


class HelmRefusedError(Exception):
    """Helm's own words."""


class Helm:
    """Helm's library in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy_helm.helm_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it tells of each symbolic link that it follows
            text=True,
        )
        self.render = cache(self._render)

    def ask(self, do: str, **more: Any) -> Any:
        """Have it do something; raises HelmRefusedError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, "chart": str(CHART), **more}) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        if "error" in reply:
            raise HelmRefusedError(reply["error"])
        return reply["answer"]

    def objects(self, values: dict[str, Any]) -> list[Manifest]:
        """Every object that `values` make, hooks and tests too."""
        return copy.deepcopy(self.render(json.dumps(values, sort_keys=True)))

    def _render(self, values: str) -> list[Manifest]:
        found = self.ask("render", values=json.loads(values), release=RELEASE)
        # The loader in C: a third of a second less for each example.
        texts = [text for name, text in found.items() if name.endswith(".yaml")]
        return [each for text in texts for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    require_module("helm_python", "test")
    helm = Helm()
    yield helm
    helm.close()


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The values of one example."""
    return copy.deepcopy(EXAMPLES[request.param])


@pytest.fixture
def objects(helm: Helm, example: dict[str, Any]) -> list[Manifest]:
    """What one example makes."""
    return helm.objects(example)


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with `changes` in them, folder by folder, as `helm --set` does."""
    result = dict(values)
    for name, change in changes.items():
        below = result.get(name)
        result[name] = merged(below, change) if isinstance(below, dict) and isinstance(change, dict) else change
    return result


def of_kind(objects: list[Manifest], kind: str, component: str | None = None) -> list[Manifest]:
    """The objects of a kind, and of a component."""
    return [
        each
        for each in objects
        if each["kind"] == kind and component in {None, each["metadata"]["labels"]["app.kubernetes.io/component"]}
    ]


def pods(objects: list[Manifest]) -> dict[str, Manifest]:
    """Each object's pod (metadata and spec), by the object's name."""
    found = {}
    for each in objects:
        if each["kind"] in {"Deployment", "Job"}:
            found[each["metadata"]["name"]] = each["spec"]["template"]
        elif each["kind"] == "Pod":
            found[each["metadata"]["name"]] = each
    return found


def containers(pod: Manifest) -> list[Manifest]:
    """A pod's containers, those that run first too."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def assert_restricted(name: str, pod: Manifest) -> None:
    """Kubernetes' profile "restricted" of pod security, a read-only file system, and our user."""
    spec = pod["spec"]
    whole = spec["securityContext"]
    assert whole["runAsNonRoot"] is True, name
    assert whole["runAsUser"] == 10001, name
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}, name
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(spec), name
    allowed = {"emptyDir", "secret", "projected", "persistentVolumeClaim"}
    assert all(allowed & set(volume) for volume in spec["volumes"]), name
    for container in containers(pod):
        one = container["securityContext"]
        assert one["allowPrivilegeEscalation"] is False, name
        assert one["readOnlyRootFilesystem"] is True, name
        assert one["capabilities"] == {"drop": ["ALL"]}, name
        assert "privileged" not in one, name
        assert one.get("runAsUser", 10001) == 10001, name
        assert not any("hostPort" in port for port in container.get("ports", [])), name


def read_yaml(path: Path) -> Any:
    """A file of YAML."""
    return yaml.safe_load(path.read_text())
