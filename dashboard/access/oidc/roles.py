"""Which role somebody's groups give.

The key decision: a group is its whole name, character by character. There are no patterns and no addresses: a pattern
that also fits another name let strangers into other consoles (Flower, CVE-2022-30034).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.storage import AdminRole

MOST_GROUPS = 5000


@dataclass(frozen=True)
class GroupRoles:
    """The groups that give each role."""

    admin: frozenset[str]
    operator: frozenset[str]
    viewer: frozenset[str]

    def role_of(self, groups: object) -> AdminRole | None:
        """The highest role that one of `groups` gives: a list of names, or one name; None: none of them does."""
        listed = [groups] if isinstance(groups, str) else groups
        if not isinstance(listed, list) or len(listed) > MOST_GROUPS:
            return None
        found = {group for group in listed if isinstance(group, str)}
        return next((role for role, wanted in self._by_role.items() if wanted & found), None)

    def named(self) -> list[str]:
        """All of them, for whoever has none."""
        return sorted(self.admin | self.operator | self.viewer)

    @property
    def _by_role(self) -> Mapping[AdminRole, frozenset[str]]:
        return {AdminRole.ADMIN: self.admin, AdminRole.OPERATOR: self.operator, AdminRole.VIEWER: self.viewer}
