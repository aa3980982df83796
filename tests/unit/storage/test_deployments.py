"""Deployments: what a release's name is looked up in."""

from __future__ import annotations

from service.storage import Database, Deployments


def test_a_release_is_found_with_the_schema_that_it_had_last(database: Database) -> None:
    deployments = Deployments(database)
    for release, revision in [("1.3.0", "0004"), ("1.4.0", "0005"), ("1.4.0", "0006"), ("1.3.0", "0004")]:
        assert deployments.record(release=release, revision=revision, node="node-1")
    assert deployments.revision_of("1.4.0") == "0006"
    assert deployments.revision_of("1.3.0") == "0004"
    assert deployments.revision_of("9.9.9") is None
    assert [(made.release, made.revision) for made in deployments.list_all()] == [
        ("1.3.0", "0004"),
        ("1.4.0", "0005"),
        ("1.4.0", "0006"),
        ("1.3.0", "0004"),
    ]


def test_the_same_release_on_another_node_is_no_new_deployment(database: Database) -> None:
    deployments = Deployments(database)
    assert deployments.record(release="1.4.0", revision="0006", node="node-1")
    assert not deployments.record(release="1.4.0", revision="0006", node="node-2")
    [made] = deployments.list_all()
    assert made.node == "node-1"
