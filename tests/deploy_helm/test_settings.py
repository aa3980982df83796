"""The chart's variables are the service's, its version is the project's, and its documentation is of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.settings import DashboardSettings
from scripts import env_example, helm_chart
from service import __version__
from service.config import Settings, load
from tests.deploy_helm.conftest import CHART, EXAMPLES, Helm, HelmRefusedError, Manifest, merged, of_kind, read_yaml
from tests.servers import ROOT

SECRETS = {
    "ELEVENLABS_API_KEY": "key",
    "VOCERO_REDIS_URL": "redis://user:password@valkey/0",
    "VOCERO_DATABASE_URL": "postgresql+psycopg://vocero:password@postgresql/vocero",
    "VOCERO_OIDC_CLIENT_SECRET": "secret",
}
FOLDER = "VOCERO_SECRETS_FOLDER"


def variables(objects: list[Manifest], component: str) -> dict[str, str]:
    """What a component has in its environment."""
    return {
        name: value
        for each in of_kind(objects, "ConfigMap", component)
        if "VOCERO_WORKERS" in each["data"]
        for name, value in each["data"].items()
    }


def test_every_variable_is_one_of_the_settings(objects: list[Manifest]) -> None:
    known = {*env_example.variables(DashboardSettings), FOLDER}
    for component in ("service", "dashboard"):
        assert set(variables(objects, component)) <= known
    for configuration in of_kind(objects, "ConfigMap"):
        assert all(isinstance(value, str) for value in configuration["data"].values())


def secret_files(objects: list[Manifest], component: str) -> set[str]:
    """The names of the files in a component's folder of secrets."""
    found = set()
    for deployment in of_kind(objects, "Deployment", component):
        pod = deployment["spec"]["template"]
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "secrets":
                found |= {item["path"] for item in volume["secret"]["items"]}
        agent = "vault.hashicorp.com/agent-inject-secret-"
        found |= {name.removeprefix(agent) for name in pod["metadata"]["annotations"] if name.startswith(agent)}
    return found


Loader = Callable[[list[Manifest], str], DashboardSettings | Settings]


@pytest.fixture
def as_in_the_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loader:
    """Loads the settings of a component as its pod would, with a folder of secrets that is here."""
    for name in env_example.variables(DashboardSettings):
        monkeypatch.delenv(name, raising=False)

    def load_it(objects: list[Manifest], component: str) -> DashboardSettings | Settings:
        for name, value in variables(objects, component).items():
            monkeypatch.setenv(name, str(tmp_path) if name == FOLDER else value)
        for name in secret_files(objects, component):
            (tmp_path / name).write_text(SECRETS[name])
        return load(DashboardSettings if component == "dashboard" else Settings)

    return load_it


@pytest.mark.parametrize("component", ["service", "dashboard"])
@pytest.mark.parametrize("name", ["vault-kubernetes", "vault-agent", "gateway", "production"])
def test_the_settings_take_what_the_chart_gives_them(
    helm: Helm, name: str, component: str, as_in_the_pod: Loader
) -> None:
    settings = as_in_the_pod(helm.objects(EXAMPLES[name]), component)
    assert settings.host == settings.ops_host == "0.0.0.0"  # else no probe gets there
    assert settings.workers == EXAMPLES[name].get("config", {}).get("VOCERO_WORKERS", 2)
    assert "valkey" in settings.redis_url
    assert "postgresql" in settings.database_url.get_secret_value()
    has_key = settings.elevenlabs_api_key is not None
    assert has_key == (component == "service" and name in {"gateway", "production"})


def test_large_numbers_stay_whole(helm: Helm, as_in_the_pod: Loader) -> None:
    """YAML's numbers come to a template as floating point: 2097152 would be 2.097152e+06, which is no integer."""
    given = variables(helm.objects(EXAMPLES["production"]), "service")
    assert given["VOCERO_MAX_REQUEST_BYTES"] == "2097152"
    assert given["VOCERO_QUALITY_SAMPLE_SHARE"] == "0.05"
    changes = {"VOCERO_MAX_CLIENT_MESSAGE_BYTES": 16_777_216, "VOCERO_COST_FETCH": False}
    settings = as_in_the_pod(helm.objects(merged(EXAMPLES["minimal"], {"config": changes})), "service")
    assert (settings.max_client_message_bytes, settings.cost_fetch) == (16_777_216, False)


def test_the_accounts_slots_are_shared_by_all_workers_of_all_pods(helm: Helm) -> None:
    assert variables(helm.objects(EXAMPLES["minimal"]), "service")["VOCERO_ACCOUNT_WORKERS"] == "4"
    assert variables(helm.objects(EXAMPLES["production"]), "service")["VOCERO_ACCOUNT_WORKERS"] == "48"


def test_who_stands_behind_a_proxy_knows_it(helm: Helm) -> None:
    given = variables(helm.objects(EXAMPLES["production"]), "dashboard")
    assert given["VOCERO_TRUSTED_PROXIES"] == given["VOCERO_DASHBOARD_TRUSTED_PROXIES"] == "1"
    assert given["VOCERO_PUBLIC_URL"] == "https://voice.example.com"
    assert given["VOCERO_DASHBOARD_URL"] == "https://vocero-admin.example.com"
    assert "VOCERO_TRUSTED_PROXIES" not in variables(helm.objects(EXAMPLES["minimal"]), "service")


def test_the_dashboard_gets_at_vault_only_for_the_databases_password(helm: Helm) -> None:
    with_password = EXAMPLES["vault-kubernetes"]
    assert "VAULT_ADDR" in variables(helm.objects(with_password), "dashboard")
    assert "VAULT_ADDR" not in variables(helm.objects(EXAMPLES["vault-agent"]), "dashboard")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"VOCERO_WORKRES": 2}, "VOCERO_WORKRES"),
        ({"VOCERO_WORKERS": 0}, "VOCERO_WORKERS"),
        ({"VOCERO_DRAIN_TURN_SECONDS": 301}, "VOCERO_DRAIN_TURN_SECONDS"),
        ({"VOCERO_LOG_LEVEL": "loud"}, "VOCERO_LOG_LEVEL"),
        ({"VOCERO_PUBLIC_URL": "voice.example.com"}, "VOCERO_PUBLIC_URL"),
        ({"ELEVENLABS_API_KEY": "sk_secret"}, "ELEVENLABS_API_KEY"),
        ({"VOCERO_PORT": 9000}, "VOCERO_PORT"),
    ],
)
def test_a_variable_that_is_none_or_out_of_bounds_is_refused(helm: Helm, config: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmRefusedError, match=named):
        helm.objects(merged(EXAMPLES["minimal"], {"config": config}))


def test_the_charts_version_is_the_projects() -> None:
    about = read_yaml(CHART / "Chart.yaml")
    assert about["version"] == about["appVersion"] == __version__


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (CHART / "values.schema.json", helm_chart.schema_text),
        (CHART / "Chart.yaml", helm_chart.chart_text),
        (helm_chart.DOCUMENT, helm_chart.document_text),
    ],
    ids=lambda each: each.name if isinstance(each, Path) else "",
)
def test_what_comes_from_elsewhere_is_fresh(file: Path, text: Any) -> None:
    assert file.read_text() == text(), "python -m scripts.helm_chart"


def test_every_value_has_a_meaning() -> None:
    told = {path for path, _, _ in helm_chart.values()}

    def untold(values: dict[str, Any], above: str = "") -> Iterator[str]:
        for name, value in values.items():
            path = f"{above}{name}"
            if path in told and path != "config":
                continue
            if isinstance(value, dict) and value:
                yield from untold(value, f"{path}.")
            elif path not in told:
                yield path

    assert list(untold(read_yaml(CHART / "values.yaml"))) == []


def test_the_documents_examples_are_there() -> None:
    text = helm_chart.DOCUMENT.read_text()
    assert all(f"deploy/helm/examples/{name}.yaml" in text for name in EXAMPLES)
    assert (ROOT / "deploy/helm/prometheus-adapter.values.yaml").name in text
