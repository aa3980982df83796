"""The catalogue of Redis keys: complete, without two names for one key, and the only place that names a prefix."""

from __future__ import annotations

import ast
from pathlib import Path

from service import redis_keys
from service.redis_keys import CATALOGUE, Kind, Namespace, namespace_of
from tests.servers import ROOT


def test_no_key_can_be_in_two_namespaces() -> None:
    for one in CATALOGUE:
        sample = one.prefix.encode() + (b"x" if one.prefix.endswith(":") else b"")
        assert [other for other in CATALOGUE if other.has(sample)] == [one]


def test_every_namespace_that_is_defined_is_in_the_catalogue() -> None:
    defined = {value for value in vars(redis_keys).values() if isinstance(value, Namespace)}
    assert defined == set(CATALOGUE)


def test_only_what_is_called_a_cache_is_one() -> None:
    assert [each.prefix for each in CATALOGUE if each.kind is Kind.CACHE] == ["vocero:cache:"]


def test_a_foreign_key_is_in_no_namespace() -> None:
    for key in (b"vocero", b"vocero:", b"vocero:maintenance2", b"vocero:caches:1", b"celery", b"", b"\xff\x00"):
        assert namespace_of(key) is None
    assert namespace_of(b"vocero:cache:\xff") is redis_keys.CACHE
    assert namespace_of(b"vocero:pool_reports") is redis_keys.POOL_REPORTS
    assert namespace_of(b"vocero:pool_report:node/1") is redis_keys.POOL_REPORT


def test_no_other_module_of_the_service_spells_a_key_out() -> None:
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "service").rglob("*.py"))
        if path != Path(redis_keys.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("vocero:")
        if not node.value.startswith("vocero: ")  # the beginning of a message
    ]
    assert spelled == []
    assert b"vocero:" not in b"".join(path.read_bytes() for path in (ROOT / "service").rglob("*.lua"))
