"""The chart's NetworkPolicies: nothing but what each component needs, and all of that."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy_helm.conftest import EXAMPLES, Helm, Manifest, merged, of_kind, pods

BASICS = {("UDP", 53), ("TCP", 53)}
NEEDED = {
    "minimal": {"service": {6379, 5432, 443}, "dashboard": {6379, 5432}, "migrations": {5432}, "smoke": {"http"}},
    "vault-kubernetes": {
        "service": {6379, 5432, 443, 8200},
        "dashboard": {6379, 5432, 8200},  # for the database's password
        "migrations": {5432},
        "smoke": {"http"},
    },
    "vault-agent": {
        "service": {6379, 5432, 443, 8200},
        "dashboard": {6379, 5432, 8200},
        "migrations": {5432, 8200},
        "smoke": {"http"},
    },
    "gateway": {
        "service": {6379, 5432, 443, 4318, 8080},
        "dashboard": {6379, 5432, 443, 8080},  # the provider of OpenID Connect
        "migrations": {5432},
        "smoke": {"http"},
    },
}


def policies_for(objects: list[Manifest], component: str) -> list[Manifest]:
    """The policies that select the pods of a component."""
    (labels,) = {
        frozenset(pod["metadata"]["labels"].items())
        for pod in pods(objects).values()
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
    }
    found = of_kind(objects, "NetworkPolicy")
    return [each["spec"] for each in found if each["spec"]["podSelector"]["matchLabels"].items() <= labels]


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_each_component_reaches_what_it_needs_and_nothing_else(helm: Helm, name: str) -> None:
    objects = helm.objects(EXAMPLES[name])
    for component, needed in NEEDED[name].items():
        policies = policies_for(objects, component)
        assert any("egress" not in policy and "Egress" in policy["policyTypes"] for policy in policies), component
        rules = [rule for policy in policies for rule in policy.get("egress", [])]
        assert all(rule["to"] for rule in rules), f"{component}: an empty `to` is everywhere"
        ports = {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}
        assert ports == BASICS | {("TCP", port) for port in needed}, component


def test_nothing_comes_in_but_from_the_proxy_prometheus_and_the_smoke_test(helm: Helm) -> None:
    objects = helm.objects(EXAMPLES["production"])
    rules = [rule for policy in policies_for(objects, "service") for rule in policy.get("ingress", [])]
    by_port = {rule["ports"][0]["port"]: rule["from"] for rule in rules}
    assert set(by_port) == {"http", "ops"}
    assert by_port["ops"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert all(peer and list(peer.values()) != [{}] for peers in by_port.values() for peer in peers)
    for component in ("migrations", "smoke"):
        assert not any("ingress" in policy for policy in policies_for(objects, component))


def test_the_dashboard_is_reached_by_nobody_unless_it_has_an_ingress(helm: Helm) -> None:
    without = policies_for(helm.objects(EXAMPLES["minimal"]), "dashboard")
    assert not any("ingress" in policy for policy in without)
    with_one = policies_for(helm.objects(EXAMPLES["gateway"]), "dashboard")
    assert any("ingress" in policy for policy in with_one)


def test_the_internet_is_without_private_addresses_and_the_clouds_metadata(helm: Helm) -> None:
    policies = policies_for(helm.objects(EXAMPLES["minimal"]), "service")
    (rule,) = [r for p in policies for r in p.get("egress", []) if r["ports"][0]["port"] == 443]
    excepted = {network for peer in rule["to"] for network in peer["ipBlock"]["except"]}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7"} <= excepted


def test_an_ingress_lets_a_conversation_live_and_a_stream_through(helm: Helm) -> None:
    for ingress in of_kind(helm.objects(EXAMPLES["production"]), "Ingress", "service"):
        said = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
        assert int(said["proxy-read-timeout"]) >= 3600
        assert int(said["proxy-send-timeout"]) >= 3600
        assert said["proxy-buffering"] == "off"
    (route,) = of_kind(helm.objects(EXAMPLES["gateway"]), "HTTPRoute")
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}


def test_routes_lead_to_services_that_there_are(objects: list[Manifest]) -> None:
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind(objects, "Service")}
    for ingress in of_kind(objects, "Ingress"):
        backend: dict[str, Any] = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]}
    for route in of_kind(objects, "HTTPRoute"):
        (to,) = route["spec"]["rules"][0]["backendRefs"]
        assert to["port"] in {port["port"] for port in services[to["name"]]}


def test_without_policies_there_are_none(helm: Helm) -> None:
    off = merged(EXAMPLES["production"], {"networkPolicy": {"enabled": False}})
    assert of_kind(helm.objects(off), "NetworkPolicy") == []
