"""docs/secrets.md and what is in deploy/vault say what the code does."""

from __future__ import annotations

import re

import pytest

from service import metrics
from service.secrets_settings import SecretsSettings
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "secrets.md").read_text()


def variables() -> list[str]:
    return sorted(field.alias for field in SecretsSettings.model_fields.values() if field.alias)


def test_every_cause_has_a_row_that_says_what_to_do_and_no_other_has() -> None:
    table = PAGE.partition("## Causes")[2].partition("## Runbooks")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [cause.value for cause in metrics.FailureCause]


def test_every_state_is_in_the_diagram_and_in_the_table() -> None:
    diagram, table = PAGE.partition("stateDiagram")[2].split("```", 1)
    for state in metrics.SecretsState:
        assert re.search(rf"\b{state}\b", diagram)
        assert re.search(rf"^\| {state}\b", table, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(name for name in vars(metrics) if name.startswith(("SECRETS_", "VAULT_"))))
def test_every_metric_is_listed(name: str) -> None:
    metric = getattr(metrics, name)
    (family,) = metric.collect() or pytest.fail("no series")
    written = family.name + ("_total" if family.type == "counter" else "")
    assert re.search(rf"^\| `{written}[`{{]", PAGE, re.MULTILINE)


@pytest.mark.parametrize("variable", variables())
def test_every_variable_is_explained(variable: str) -> None:
    assert re.search(rf"`{variable}(?:=\w+)?`", PAGE)


def test_a_link_within_the_page_leads_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\(#([\w-]+)\)", PAGE)) <= anchors


def test_every_runbook_that_operators_are_sent_to_is_there() -> None:
    runbooks = re.findall(r"^### (.+)$", PAGE.partition("## Runbooks")[2], re.MULTILINE)
    assert runbooks == [
        "Rotate the ElevenLabs key",
        "Vault is sealed",
        "Vault is away at boot",
        "The wrapped secret id was already used",
        "Policy denied (403)",
        "A deleted version",
        "ElevenLabs refuses the key",
    ]


@pytest.mark.parametrize("script", ["setup-approle.sh", "bootstrap-development.sh"])
def test_a_script_takes_the_variables_of_the_service_with_the_same_defaults(script: str) -> None:
    text = (ROOT / "deploy" / "vault" / script).read_text()
    defaults = {field.alias: field.default for field in SecretsSettings.model_fields.values()}
    used = dict(re.findall(r"\$\{(VAULT_\w+):-([^}]+)\}", text))
    assert {"VAULT_KV_MOUNT", "VAULT_KV_PATH"} <= used.keys()
    assert used == {name: defaults[name] for name in used}
    for name, default in used.items():
        assert f"  {name}={default}" in text
