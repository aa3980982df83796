"""Rules and dashboards are in the chart as they are elsewhere, also when packed; the metric that scales exists."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import yaml

from service import metrics_conversations
from tests.deploy_helm.conftest import CHART, EXAMPLES, RELEASE, Helm, of_kind, pods, read_yaml
from tests.parts import require_module
from tests.servers import ROOT

RULES = {path.name: path for path in (ROOT / "deploy" / "prometheus").glob("*.rules.yml")}
DASHBOARDS = {path.name: path for path in (ROOT / "grafana" / "dashboards").glob("*.json")}


def test_a_packaged_chart_has_every_rule_and_dashboard_in_it(helm: Helm, tmp_path: Path) -> None:
    archive = helm.ask("package", destination=str(tmp_path))
    with tarfile.open(archive) as packed:
        contents = {member.name: packed.extractfile(member) for member in packed if member.isfile()}
        for folder, sources in (("prometheus", RULES), ("grafana", DASHBOARDS)):
            inside = {name.rpartition("/")[2] for name in contents if f"/files/{folder}/" in name}
            assert inside == set(sources)
            for name, source in sources.items():
                packed_file = contents[f"vocero/files/{folder}/{name}"]
                assert packed_file is not None
                assert packed_file.read() == source.read_bytes()
    values = EXAMPLES["production"]
    from_folder = helm.ask("render", values=values, release=RELEASE)
    assert helm.ask("render", values=values, release=RELEASE, chart=archive) == from_folder


def test_the_chart_links_to_what_is_in_the_repository() -> None:
    links = [path for path in (CHART / "files").rglob("*") if path.is_symlink()]
    assert {path.resolve() for path in links} == {*RULES.values(), *DASHBOARDS.values()}


def test_the_rules_come_through_unchanged(helm: Helm) -> None:
    found = of_kind(helm.objects(EXAMPLES["production"]), "PrometheusRule")
    rendered = {each["metadata"]["name"].removeprefix("prod-vocero-"): each["spec"]["groups"] for each in found}
    assert rendered == {name.removesuffix(".rules.yml"): read_yaml(path)["groups"] for name, path in RULES.items()}
    assert all(each["metadata"]["labels"]["release"] == "prometheus" for each in found)


def test_the_dashboards_come_through_unchanged_and_fit_into_a_config_map(helm: Helm) -> None:
    found = {}
    for each in of_kind(helm.objects(EXAMPLES["production"]), "ConfigMap", "ops"):
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        found |= each["data"]
        assert len(json.dumps(each)) < 900_000
    assert {name: json.loads(text) for name, text in found.items()} == {
        name: json.loads(path.read_text()) for name, path in DASHBOARDS.items()
    }


def test_the_job_has_the_name_that_rules_and_dashboards_go_by(helm: Helm) -> None:
    (monitor,) = of_kind(helm.objects(EXAMPLES["production"]), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert {"targetLabel": "job", "replacement": "vocero", "action": "replace"} in endpoint["relabelings"]
    jobs = {job["job_name"]: job for job in read_yaml(ROOT / "deploy/prometheus/prometheus.yml")["scrape_configs"]}
    assert monitor["spec"]["sampleLimit"] == jobs["vocero"]["sample_limit"]


def test_pods_are_scaled_by_a_metric_that_the_service_has(helm: Helm) -> None:
    require_module("promql_parser", "test")
    import promql_parser

    (scaler,) = of_kind(helm.objects(EXAMPLES["production"]), "HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    (described,) = metrics_conversations.LIVE.describe()
    assert name == described.name
    (rule,) = yaml.safe_load((ROOT / "deploy/helm/prometheus-adapter.values.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["matches"] == name
    series = promql_parser.parse(rule["seriesQuery"])
    assert series.name == name
    query = (
        rule["metricsQuery"]
        .replace("<<.LabelMatchers>>", 'namespace="voice",pod=~"a|b"')
        .replace("<<.GroupBy>>", "pod")
    )
    assert promql_parser.parse(query).expr.name == name


def test_scaling_down_is_slow_and_the_deployment_leaves_the_number_to_it(helm: Helm) -> None:
    objects = helm.objects(EXAMPLES["production"])
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    down = scaler["spec"]["behavior"]["scaleDown"]
    leaves = pods(objects)["prod-vocero-service"]["spec"]["terminationGracePeriodSeconds"]
    assert down["stabilizationWindowSeconds"] >= 600
    assert [(policy["type"], policy["value"]) for policy in down["policies"]] == [("Pods", 1)]
    assert all(policy["periodSeconds"] > leaves for policy in down["policies"])
    (service,) = of_kind(objects, "Deployment", "service")
    assert "replicas" not in service["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == service["metadata"]["name"]
