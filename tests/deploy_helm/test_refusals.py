"""Values that cannot work: Helm stops with words that say what to change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy_helm.conftest import EXAMPLES, Helm, HelmRefusedError, merged

NOWHERE = {"to": []}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("minimal", {"image": {"repository": ""}}, "image.repository"),
    ("minimal", {"image": {"digest": ""}}, "image.digest"),
    ("minimal", {"image": {"digest": "sha256:abc"}}, "digest"),
    ("minimal", {"secrets": {"existingSecret": ""}}, "secrets.existingSecret: name the Secret"),
    ("minimal", {"secrets": {"source": "elsewhere"}}, "source"),
    ("minimal", {"secrets": {"source": "none"}}, "no key of ElevenLabs"),
    ("minimal", {"secrets": {"names": ["VOCERO_DATABASE_URL", "ELEVENLABS_API_KEY"]}}, "say where Redis is"),
    ("minimal", {"secrets": {"names": ["VOCERO_REDIS_URL", "ELEVENLABS_API_KEY"]}}, "say where the database is"),
    ("minimal", {"secrets": {"names": ["VOCERO_REDIS_URL", "VOCERO_DATABASE_URL"]}}, "ELEVENLABS_API_KEY is missing"),
    ("minimal", {"secrets": {"dashboardNames": ["VOCERO_DATABASE_URL"]}}, r"say where Redis is.*dashboardNames"),
    ("minimal", {"secrets": {"names": ["PASSWORD"]}}, "names"),
    ("minimal", {"config": {"VOCERO_REDIS_URL": "redis://valkey/0"}}, "it is in config and in secrets.names"),
    (
        "vault-kubernetes",
        {"config": {"VOCERO_DATABASE_URL": "sqlite:////tmp/vocero.db"}},
        "several pods .* need PostgreSQL",
    ),
    (
        "vault-kubernetes",
        {"config": {"VOCERO_DATABASE_URL": "sqlite:////tmp/vocero.db"}, "service": {"replicas": 1}},
        "SQLite would lie in one pod",
    ),
    (
        "vault-kubernetes",
        {"config": {"VOCERO_REDIS_URL": "redis://user:password@valkey/0"}},
        "config.VOCERO_REDIS_URL has a password",
    ),
    (
        "vault-kubernetes",
        {"config": {"VOCERO_REDIS_URL": "redis://:password@valkey/0"}},
        "config.VOCERO_REDIS_URL has a password",
    ),
    ("vault-kubernetes", {"vault": {"enabled": False}}, "no key of ElevenLabs"),
    ("vault-kubernetes", {"vault": {"address": ""}}, "vault.address"),
    ("vault-kubernetes", {"vault": {"address": "http://vault:8200"}}, "address"),
    ("vault-kubernetes", {"migrations": {"existingSecret": ""}}, "migrations.existingSecret"),
    ("vault-kubernetes", {"networkPolicy": {"vault": NOWHERE}}, "networkPolicy.vault.to"),
    ("vault-agent", {"secrets": {"vaultAgent": {"path": ""}}}, "secrets.vaultAgent.path"),
    ("production", {"secrets": {"externalSecret": {"storeName": ""}}}, "storeName and remoteKey"),
    ("production", {"service": {"autoscaling": {"minReplicas": 13}}}, "minReplicas 13 is more than maxReplicas 12"),
    ("production", {"service": {"autoscaling": {"scaleDownPeriodSeconds": 30}}}, "shorter than a pod takes to leave"),
    ("production", {"ingress": {"host": ""}}, "ingress.host"),
    ("production", {"dashboard": {"ingress": {"tlsSecret": ""}}}, "dashboard.ingress: host and tlsSecret"),
    ("gateway", {"gateway": {"parentRefs": []}}, "host and parentRefs"),
    ("gateway", {"networkPolicy": {"collector": NOWHERE}}, "networkPolicy.collector.to"),
    ("minimal", {"networkPolicy": {"redis": NOWHERE}}, "networkPolicy.redis.to"),
    ("minimal", {"networkPolicy": {"database": NOWHERE}}, "networkPolicy.database.to"),
    ("minimal", {"networkPolicy": {"redis": {"to": [{"everywhere": True}]}}}, "everywhere"),
    ("minimal", {"service": {"replicas": 0}}, "replicas"),
    ("minimal", {"serivce": {"replicas": 3}}, "serivce"),
]


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_values_that_cannot_work_are_refused_in_words(
    helm: Helm, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(HelmRefusedError, match=said):
        helm.objects(merged(EXAMPLES[name], changes))


def test_everything_that_is_wrong_is_said_at_once(helm: Helm) -> None:
    with pytest.raises(HelmRefusedError) as refused:
        helm.objects({})
    for said in (
        "image.repository",
        "image.digest",
        "secrets.existingSecret",
        "networkPolicy.redis",
        "networkPolicy.database",
    ):
        assert said in str(refused.value)
