"""What the chart makes of each example, against Helm's own lint, Kubernetes' schemas and the operators' types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.helm_chart import DOCUMENT
from tests.deploy_helm.conftest import EXAMPLES, Helm, assert_restricted
from tests.parts import require_module
from tests.typescript import compile_types, require_types

KUBERNETES = ("1.27", "1.37")
"""The oldest that Chart.yaml allows, and the newest."""

WARNING = 2
OPERATORS = {
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
    "ExternalSecret": "@kubernetes-models/external-secrets/external-secrets.io/v1/ExternalSecret",
    "HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
}
# Each must be an error, or the compiler complains that it is none.
WRONG = """\
import type { IServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';
type Spec = NonNullable<IServiceMonitor['spec']>;
// @ts-expect-error a field that there is not
export const field: Spec = { selector: {}, endpoints: [{ port: 'ops', pathh: '/metrics' }] };
// @ts-expect-error a number where a text belongs
export const kind: Spec = { selector: {}, endpoints: [{ port: 8001 }] };
"""


def test_helm_finds_nothing_to_complain_about(helm: Helm, example: dict[str, Any]) -> None:
    report = helm.ask("lint", values=example)
    assert report["total_charts_linted"] == 1
    assert [said for said in report["messages"] if said["severity"] >= WARNING] == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field_of_every_object(helm: Helm, version: str) -> None:
    require_module("kubernetes_validate", "test")
    import kubernetes_validate

    found = {}  # once each: the examples have much in common
    for values in EXAMPLES.values():
        for each in helm.objects(values):
            if each["kind"] not in OPERATORS:
                nameless = {**each, "metadata": {**each["metadata"], "name": "any"}}
                found[json.dumps(nameless, sort_keys=True)] = each
    for each in found.values():
        kubernetes_validate.validate(each, version, strict=True)


def test_the_documents_pod_for_a_rollback_is_one_and_restricted() -> None:
    require_module("kubernetes_validate", "test")
    import kubernetes_validate

    text = DOCUMENT.read_text().partition("<summary>rollback-pod.yaml</summary>")[2]
    claim, pod = yaml.safe_load_all(text.partition("```yaml\n")[2].partition("```")[0])
    for each in (claim, pod):
        kubernetes_validate.validate(each, KUBERNETES[-1], strict=True)
    assert_restricted("rollback", pod)


def test_kubernetes_schemas_refuse_a_field_that_there_is_not(helm: Helm) -> None:
    require_module("kubernetes_validate", "test")
    import kubernetes_validate

    deployment = next(each for each in helm.objects(EXAMPLES["minimal"]) if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


def test_each_object_of_an_operator_is_one_by_its_own_types(helm: Helm, tmp_path: Path) -> None:
    require_types("@kubernetes-models")
    files, kinds = {"wrong.ts": WRONG}, set()
    for name, values in EXAMPLES.items():
        for number, each in enumerate(helm.objects(values)):
            if each["kind"] in OPERATORS:
                kinds.add(each["kind"])
                head = f"import type {{ I{each['kind']} }} from '{OPERATORS[each['kind']]}';\n"
                files[f"{name}-{number}.ts"] = (
                    f"{head}export const it: I{each['kind']} = {json.dumps(each, indent=1)};\n"
                )
    assert kinds == set(OPERATORS)
    compile_types(tmp_path, files)
