"""Alerts: each says what it is, leads to a runbook, and is seen to fire, not to fire, and to resolve."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import alerting, promql
from tests.alerting import Alert
from tests.parts import require_program

ALERTS = alerting.alerts()
FEWEST_EVENTS = 20
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BURNS = {
    "1h": ("5m", 14.4, "page"),
    "6h": ("30m", 6.0, "page"),
    "1d": ("2h", 3.0, "ticket"),
    "3d": ("6h", 1.0, "ticket"),
}
"""By the long window: the short one, how many times as fast as allowed, and who is told."""

ALLOWED = {"set-up": 0.005, "turns": 0.005, "first-audio": 0.05}
BURN = re.compile(
    r"(?P<bad>job:\w+:ratio_rate)(?P<long>\w+) > (?P<factor>[\d.]+) \* (?P<allowed>[\d.]+)"
    r" and (?P=bad)(?P<short>\w+) > (?P=factor) \* (?P=allowed)"
    r" and (?P<all>job:\w+:increase)(?P=long) >= (?P<events>\d+)"
)

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: "-".join(filter(None, alert.key)))


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def promtool() -> Path:
    return require_program("promtool", remedy="apt-get install prometheus")


def test_prometheus_takes_its_configuration_and_all_rules(promtool: Path) -> None:
    said = run(promtool, "check", "config", alerting.PROMETHEUS / "prometheus.yml")
    assert all(path.name in said for path in alerting.RULE_FILES)
    run(promtool, "check", "rules", *alerting.RULE_FILES)


def test_alertmanager_takes_its_configuration() -> None:
    amtool = require_program("amtool", remedy="apt-get install prometheus-alertmanager")
    run(amtool, "check-config", alerting.ALERTMANAGER)


@pytest.mark.parametrize("path", alerting.TEST_FILES, ids=lambda path: path.name)
def test_alerts_do_what_their_tests_say(promtool: Path, path: Path) -> None:
    run(promtool, "test", "rules", path)


def test_no_two_alerts_are_the_same() -> None:
    assert len({alert.key for alert in ALERTS}) == len(ALERTS) > 30


@each_alert
def test_an_alert_is_seen_not_to_fire_then_to_fire_and_then_to_resolve(alert: Alert) -> None:
    seen = alerting.looked_for(alert)
    assert any(
        each.there and min(each.not_there, default=1e9) < min(each.there) and max(each.not_there) > max(each.there)
        for each in seen
    )


@each_alert
def test_an_alert_says_what_is_wrong_to_somebody_who_was_asleep(alert: Alert) -> None:
    summary, description = alert.annotations["summary"], alert.annotations["description"]
    assert alert.labels["severity"] in {"page", "ticket", "info"}
    assert 15 < len(summary) < 140
    assert description.endswith((".", "?"))
    assert len(description.split()) > 12
    shown = summary + description
    has_limit = re.search(r" > | < | >= ", alert.expression) and "up{" not in alert.expression
    assert "$value" in shown or "$labels" in shown or not has_limit, "the value, or whom it is about"


@each_alert
def test_an_alert_leads_to_its_runbook_and_to_a_dashboard(alert: Alert) -> None:
    link = alert.annotations["runbook_url"]
    assert link.startswith("{{ with $externalLabels.runbooks }}{{ . }}{{ else }}docs/runbooks.md{{ end }}#")
    assert alert.heading in alerting.headings()
    assert re.fullmatch(
        r"\{\{ with \$externalLabels\.grafana \}\}\{\{ \. \}\}\{\{ end \}\}/d/vocero-[a-z]+",
        alert.annotations["dashboard_url"],
    )


@each_alert
def test_every_duration_in_an_alert_is_one_that_the_drill_can_shorten(alert: Alert) -> None:
    faster = alerting.on_faster_clock(alert.expression, 60.0)
    assert not re.findall(r"\[\d+[smhd]\]|offset \d+[smhd]\b", faster)
    promql.ask(faster)


def test_every_runbook_is_some_alerts() -> None:
    headings = alerting.headings()
    assert len(set(headings)) == len(headings)
    assert set(headings) == {alert.heading for alert in ALERTS}


def test_a_link_in_the_runbooks_leads_somewhere() -> None:
    page = alerting.RUNBOOKS.read_text()
    for target, anchor in re.findall(r"\]\(([\w./-]*\.md)?(?:#([\w-]+))?\)", page):
        path = alerting.RUNBOOKS.parent / target if target else alerting.RUNBOOKS
        titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_each_runbook_has_its_five_parts() -> None:
    for text in re.split(r"^## .+$", alerting.RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]:
        parts = re.findall(r"^\*\*([\w ]+)\.\*\*", text, re.MULTILINE)
        assert parts == ["Users notice", "Look first", "Likely", "Do", "Over"], text[:80]


def test_the_queries_of_the_runbooks_are_good_promql() -> None:
    queries = alerting.runbook_queries()
    assert len(queries) >= len(alerting.headings())
    for query in queries:
        promql.ask(query)


@pytest.mark.parametrize("objective", ALLOWED)
def test_an_objective_is_watched_over_four_pairs_of_windows(objective: str) -> None:
    found = {}
    for alert in ALERTS:
        if alert.labels.get("objective") == objective:
            burn = BURN.fullmatch(" ".join(alert.expression.split()))
            assert burn, alert.expression
            assert float(burn["allowed"]) == ALLOWED[objective]
            assert int(burn["events"]) == FEWEST_EVENTS
            assert burn["long"] == alert.labels["window"]
            found[burn["long"]] = (burn["short"], float(burn["factor"]), alert.labels["severity"])
    assert found == BURNS


def test_what_is_recorded_for_the_objectives_has_every_window_and_its_own() -> None:
    shares: dict[str, set[str]] = {}
    for record in alerting.records():
        if ":ratio_rate" in record.name and record.name.startswith("job:"):
            name, window = record.name.split(":ratio_rate")
            shares.setdefault(name, set()).add(window)
            assert set(re.findall(r"\[(\w+)\]", record.expression)) == {window}
    assert set(map(frozenset, shares.values())) == {frozenset(WINDOWS)}
    assert len(shares) == len(ALLOWED)


def test_alerts_ask_only_for_what_is_recorded_or_scraped() -> None:
    recorded = {record.name for record in alerting.records()}
    for alert in ALERTS:
        for metric in promql.ask(alert.expression).metrics:
            assert metric in recorded or re.fullmatch(r"up|(vocero|elevenlabs)_\w+", metric), metric


def test_a_faster_clock_changes_durations_and_nothing_else() -> None:
    rule = """
      - record: job:x:ratio_rate1h
        expr: rate(x_total[1h] offset 30m) > 4 * 3600
        for: 1m
        annotations: {summary: in 1h}
"""
    assert alerting.on_faster_clock(rule, 60) == rule.replace("[1h]", "[60000ms]").replace("30m", "30000ms").replace(
        "for: 1m", "for: 1000ms"
    )


class TestAlertmanager:
    """Who is told, and which alert makes which other superfluous."""

    configuration = yaml.safe_load(alerting.ALERTMANAGER.read_text())

    @pytest.mark.parametrize(
        ("labels", "receiver"),
        [
            ("severity=page", "pager"),
            ("severity=ticket", "tickets"),
            ("severity=info", "chat"),
            ("job=vocero", "tickets"),
        ],
    )
    def test_an_alert_goes_to_whom_its_severity_says(self, labels: str, receiver: str) -> None:
        amtool = require_program("amtool", remedy="apt-get install prometheus-alertmanager")
        said = run(amtool, "config", "routes", "test", f"--config.file={alerting.ALERTMANAGER}", labels)
        assert said.strip() == receiver

    def test_no_secret_and_no_address_of_anybody_stands_in_it(self) -> None:
        text = alerting.ALERTMANAGER.read_text()
        assert not re.search(r"https?://(?!localhost)", text)
        assert not re.search(r"\b(?:credentials|password|routing_key|api_url|service_key):", text)

    def test_each_receiver_is_told_of_the_end_as_well(self) -> None:
        for receiver in self.configuration["receivers"]:
            assert all(hook["send_resolved"] for hook in receiver["webhook_configs"])

    def test_an_inhibition_names_alerts_that_there_are(self) -> None:
        names = {alert.name for alert in ALERTS}
        for rule in self.configuration["inhibit_rules"]:
            for matcher in rule["source_matchers"] + rule["target_matchers"]:
                label, value = re.fullmatch(r'(\w+)(?:=~|!=|=)"(.+)"', matcher).groups()
                if label == "alertname":
                    assert set(value.split("|")) <= names

    def test_an_inhibition_goes_by_labels_that_both_alerts_have(self) -> None:
        for rule in self.configuration["inhibit_rules"]:
            assert "job" in rule["equal"], "one service's alert says nothing of another's"
