"""What the chart's pods are: restricted, with their secrets as files, and with time to leave."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from service.config import Settings
from tests.deploy_helm.conftest import EXAMPLES, Helm, Manifest, assert_restricted, containers, merged, of_kind, pods
from tests.servers import ROOT

MEBIBYTES = re.compile(r"(\d+)Mi")


def test_every_pod_is_of_the_restricted_profile(objects: list[Manifest]) -> None:
    for name, pod in pods(objects).items():
        assert_restricted(name, pod)
        assert all({"requests", "limits"} <= set(container["resources"]) for container in containers(pod)), name


def test_no_pod_has_a_token_of_the_api_server(objects: list[Manifest]) -> None:
    for account in of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for name, pod in pods(objects).items():
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        tokens = [
            source["serviceAccountToken"]
            for volume in pod["spec"]["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
        ]
        assert all(token["audience"] == "vault" for token in tokens), name


def test_kubernetes_sets_no_variable_of_ours(objects: list[Manifest]) -> None:
    """A Service named `vocero` would make it VOCERO_PORT=tcp://10..., and the service would not start."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(objects).values())


def test_a_secret_is_a_file_and_never_a_variable(helm: Helm, example: dict[str, Any]) -> None:
    objects = helm.objects(example)
    secret = {"ELEVENLABS_API_KEY", "VOCERO_OIDC_CLIENT_SECRET", "VAULT_TOKEN", "VAULT_SECRET_ID"}
    assert of_kind(objects, "Secret") == []
    for configuration in of_kind(objects, "ConfigMap"):
        assert not secret & set(configuration["data"])
        assert "password" not in json.dumps(configuration["data"].get("VOCERO_DATABASE_URL", ""))
    for name, pod in pods(objects).items():
        for container in containers(pod):
            assert not secret & {variable["name"] for variable in container.get("env", [])}, name
            assert "secretKeyRef" not in json.dumps(container), name
            assert "secretRef" not in json.dumps(container), name


def test_secrets_are_readable_for_our_user_alone_and_only_those_that_are_named(helm: Helm) -> None:
    for name, pod in pods(helm.objects(EXAMPLES["minimal"])).items():
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440, name
                assert all(item["key"] == item["path"] for item in volume["secret"]["items"]), name


def test_the_dashboard_has_no_key_of_elevenlabs(objects: list[Manifest]) -> None:
    for deployment in of_kind(objects, "Deployment", "dashboard"):
        assert "ELEVENLABS_API_KEY" not in json.dumps(deployment)


def test_the_key_does_not_lie_in_a_file_when_vocero_asks_vault_itself(helm: Helm) -> None:
    for name in ("vault-agent", "vault-kubernetes"):
        deployment = of_kind(helm.objects(EXAMPLES[name]), "Deployment", "service")
        assert "ELEVENLABS_API_KEY" not in json.dumps(deployment)


def test_the_agent_writes_each_file_by_its_name_as_our_user(helm: Helm) -> None:
    found = pods(helm.objects(EXAMPLES["vault-agent"]))
    said = found["prod-vocero-service"]["metadata"]["annotations"]
    assert said["vault.hashicorp.com/agent-inject-template-VOCERO_REDIS_URL"] == (
        '{{- with secret "secret/data/vocero-urls" }}{{ .Data.data.VOCERO_REDIS_URL }}{{ end -}}'
    )
    assert said["vault.hashicorp.com/preserve-secret-case"] == "true"
    assert said["vault.hashicorp.com/agent-run-as-same-user"] == "true"
    assert said["vault.hashicorp.com/agent-inject-token"] == "true"
    job = found["prod-vocero-migrations"]["metadata"]["annotations"]
    assert job["vault.hashicorp.com/agent-pre-populate-only"] == "true"  # else the Job never ends
    assert "secret/data/vocero-owner" in job["vault.hashicorp.com/agent-inject-template-VOCERO_DATABASE_URL"]


@pytest.mark.parametrize(("turn", "bridge"), [(20, 5), (0, 1), (7.5, 10), (300, 60)])
def test_a_pod_has_as_long_as_the_service_takes_to_leave(helm: Helm, turn: float, bridge: int) -> None:
    changes = {"config": {"VOCERO_DRAIN_TURN_SECONDS": turn}, "service": {"preStopSeconds": bridge}}
    (service,) = of_kind(helm.objects(merged(EXAMPLES["minimal"], changes)), "Deployment", "service")
    spec = service["spec"]["template"]["spec"]
    needs = Settings(VOCERO_DRAIN_TURN_SECONDS=turn).graceful_seconds
    assert spec["terminationGracePeriodSeconds"] == bridge + needs + 5
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(bridge)]


def test_no_pod_goes_before_another_one_has_come(objects: list[Manifest]) -> None:
    for deployment in of_kind(objects, "Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_probes_and_services_name_ports_that_there_are(objects: list[Manifest]) -> None:
    ports = {}
    for deployment in of_kind(objects, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        ports[container["name"]] = {port["name"]: port["containerPort"] for port in container["ports"]}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[kind]["httpGet"]["port"] in ports[container["name"]]
    assert ports["service"] == {"http": Settings().port, "ops": Settings().ops_port}
    for service in of_kind(objects, "Service"):
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        assert all(port["targetPort"] in ports[component] for port in service["spec"]["ports"])


def test_what_kills_never_asks_a_dependency(objects: list[Manifest]) -> None:
    for pod in pods(objects).values():
        for container in containers(pod):
            for kind in ("startupProbe", "livenessProbe"):
                assert container.get(kind, {"httpGet": {"path": "/livez"}})["httpGet"]["path"] == "/livez"
    (service,) = of_kind(objects, "Deployment", "service")
    ready = service["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    assert ready == {"path": "/readyz", "port": "ops"}


def test_selectors_find_the_pods_and_nothing_else(objects: list[Manifest]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}

    def found(selector: dict[str, str]) -> set[str]:
        return {name for name, has in labels.items() if selector.items() <= has.items()}

    for deployment in of_kind(objects, "Deployment"):
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert found(selector) == {deployment["metadata"]["name"]}
        assert "app.kubernetes.io/version" not in selector  # it changes, and a selector cannot
        for spread in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"] == selector
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert found(budget["spec"]["selector"]["matchLabels"]) == {"prod-vocero-service"}
    for service in of_kind(objects, "Service"):
        assert len(found(service["spec"]["selector"])) == 1
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (watched,) = [each for each in of_kind(objects, "Service") if wanted <= each["metadata"]["labels"].items()]
        assert watched["metadata"]["name"] == "prod-vocero-ops"


def test_what_a_pod_writes_to_is_mounted(objects: list[Manifest]) -> None:
    for name, pod in pods(objects).items():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for container in containers(pod):
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounts, name
            assert set(mounts.values()) <= set(volumes), name
            assert len(mounts) == len(container["volumeMounts"]), name
    (service,) = of_kind(objects, "Deployment", "service")
    spec = service["spec"]["template"]["spec"]
    (memory,) = [each["emptyDir"] for each in spec["volumes"] if each["name"] == "shared-memory"]
    assert memory["medium"] == "Memory"
    workers = int(next(each["data"]["VOCERO_WORKERS"] for each in of_kind(objects, "ConfigMap", "service")))
    (size,) = MEBIBYTES.fullmatch(memory["sizeLimit"]).groups()  # type: ignore[union-attr]
    assert int(size) >= 16 + workers


def test_every_command_is_one_of_the_sources(objects: list[Manifest]) -> None:
    for pod in pods(objects).values():
        for container in containers(pod):
            command = container["args"]
            if command[0] == "gunicorn":
                package = command[3].partition(".")[0]
                assert (ROOT / command[2]).is_file()
                assert (ROOT / package / "wsgi.py").is_file()
            else:
                assert command[:2] == ["python", "-m"]
                module = ROOT / command[2].replace(".", "/")
                assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()


def test_the_migrations_bring_what_they_need_because_nothing_is_there_before_them(objects: list[Manifest]) -> None:
    for job in of_kind(objects, "Job"):
        hooks = {
            (each["kind"], each["metadata"]["name"]): each
            for each in objects
            if "pre-install" in each["metadata"].get("annotations", {}).get("helm.sh/hook", "")
        }
        spec = job["spec"]["template"]["spec"]
        assert "envFrom" not in json.dumps(spec)
        assert ("ServiceAccount", spec["serviceAccountName"]) in hooks
        weights = {
            int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in hooks.values() if each != job
        }
        assert max(weights) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
        made_by_the_chart = {
            each["spec"]["target"]["name"]
            for each in of_kind(objects, "ExternalSecret")
            if ("ExternalSecret", each["metadata"]["name"]) not in hooks
        }
        used = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        assert not used & made_by_the_chart


def test_an_upgrade_migrates_after_the_pods_because_an_old_release_does_not_start_on_a_newer_schema(helm: Helm) -> None:
    (job,) = of_kind(helm.objects(EXAMPLES["minimal"]), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,post-upgrade"
    changed = merged(EXAMPLES["minimal"], {"migrations": {"upgradeHook": "pre-upgrade"}})
    (job,) = of_kind(helm.objects(changed), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_the_services_role_is_given_its_rights_right_after_the_upgrade(helm: Helm) -> None:
    (job,) = of_kind(helm.objects(EXAMPLES["production"]), "Job")
    first, second = containers(job["spec"]["template"])
    assert first["args"] == ["python", "-m", "migrations", "upgrade"]
    assert second["args"] == ["python", "-m", "migrations", "grant", "vocero"]
