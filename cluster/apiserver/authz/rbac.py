"""RBAC: what a user's bindings add up to, from the watch caches.

Bindings are indexed by subject, so a request costs nothing for the bindings of others. What was
found out for (user, namespace, verb, resource) is remembered until a role or binding changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.authn.user import User
from cluster.apiserver.authz import rules
from cluster.apiserver.authz.attributes import ALLOW, NONE, Attributes, Decision
from cluster.apiserver.authz.follow import Follow
from cluster.apiserver.authz.rules import Rule
from cluster.storage import keys
from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry

GROUP = "rbac.authorization.k8s.io"
KINDS = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
REMEMBERED = 8192
Subject = tuple[str, str]
"""("User", name), ("Group", name); service accounts are users."""
ANY_NAME: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding, as far as it counts. `namespace` is "" for the whole cluster."""

    key: str
    namespace: str
    role_key: str
    subjects: tuple[Subject, ...]
    shown: str
    """How messages name it, and the role."""


class RoleIndex:
    """Roles by key, grants by subject. `catch_up` before each use; it costs little."""

    def __init__(self, caches: Mapping[str, ResourceCache]) -> None:
        """`caches`: by plural, of KINDS."""
        self._caches = caches
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._grants: dict[str, Grant] = {}
        self._by_subject: dict[Subject, dict[str, Grant]] = {}
        self._follows = [
            *(self._follow_roles(caches[plural]) for plural in ("roles", "clusterroles")),
            *(self._follow_grants(caches[plural]) for plural in ("rolebindings", KINDS[3])),
        ]

    def _follow_roles(self, cache: ResourceCache) -> Follow:
        start = keys.prefix(cache.resource)

        def clear() -> None:
            for key in [key for key in self._rules if key.startswith(start)]:
                del self._rules[key]

        return Follow(cache, self._put_role, lambda key: self._drop_role(key), clear)

    def _follow_grants(self, cache: ResourceCache) -> Follow:
        start = keys.prefix(cache.resource)

        def clear() -> None:
            for key in [key for key in self._grants if key.startswith(start)]:
                self._drop_grant(key)

        return Follow(cache, self._put_grant, self._drop_grant, clear)

    def catch_up(self) -> bool:
        """Take in what has changed; whether anything has."""
        return any([follow.catch_up() for follow in self._follows])

    def _put_role(self, entry: Entry) -> None:
        self._rules[entry.key] = rules.parse_all(entry.decode())

    def _drop_role(self, key: str) -> None:
        self._rules.pop(key, None)

    def _put_grant(self, entry: Entry) -> None:
        self._drop_grant(entry.key)
        grant = self._grant(entry)
        self._grants[entry.key] = grant
        for subject in grant.subjects:
            self._by_subject.setdefault(subject, {})[entry.key] = grant

    def _drop_grant(self, key: str) -> None:
        grant = self._grants.pop(key, None)
        for subject in grant.subjects if grant else ():
            held = self._by_subject[subject]
            held.pop(key, None)
            if not held:
                del self._by_subject[subject]

    def _grant(self, entry: Entry) -> Grant:
        binding = entry.decode()
        namespace = binding["metadata"].get("namespace", "")
        found = (_subject(each, namespace) for each in binding.get("subjects") or ())
        subjects = tuple(dict.fromkeys(subject for subject in found if subject is not None))
        ref = binding["roleRef"]
        name = binding["metadata"]["name"]
        where = f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
        shown = f'allowed by {where} of {ref["kind"]} "{ref["name"]}"'
        return Grant(entry.key, namespace, self._role_key(ref, namespace), subjects, shown)

    def _role_key(self, ref: Mapping[str, Any], namespace: str) -> str:
        if ref["kind"] == "ClusterRole":
            return keys.key(self._caches["clusterroles"].resource, "", ref["name"])
        return keys.key(self._caches["roles"].resource, namespace, ref["name"])

    def grants(self, user: User, namespace: str) -> Iterator[Grant]:
        """Those of the whole cluster, and of the namespace if one is given."""
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for grant in self._by_subject.get(subject, {}).values():
                if not grant.namespace or (namespace and grant.namespace == namespace):
                    yield grant

    def rules_of(self, grant: Grant) -> tuple[Rule, ...]:
        """None if the role does not exist."""
        return self._rules.get(grant.role_key, ())


def _subject(subject: Mapping[str, Any], namespace: str) -> Subject | None:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "ServiceAccount":
        account_namespace = subject.get("namespace") or namespace
        return "User", f"system:serviceaccount:{account_namespace}:{name}"
    return (kind, name) if kind in ("User", "Group") else None


class RbacAuthorizer:
    """Allows what a role of the user permits; never denies."""

    def __init__(self, index: RoleIndex) -> None:
        self._index = index
        self._remembered: dict[Any, tuple[frozenset[str] | None, str]] = {}

    async def decide(self, asked: Attributes) -> Decision:
        if self._index.catch_up():
            self._remembered.clear()
        names, reason = self._permitted(asked)
        if names is None or (names and asked.name not in names):
            return NONE
        return Decision(ALLOW, f"RBAC: {reason}")

    def _permitted(self, asked: Attributes) -> tuple[frozenset[str] | None, str]:
        """The names that may be asked for (ANY_NAME: all), None for nothing at all."""
        what = asked.path if not asked.resource else (asked.group, asked.full_resource)
        key = (asked.user, asked.namespace, asked.verb, what)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._search(asked)
        return found

    def _search(self, asked: Attributes) -> tuple[frozenset[str] | None, str]:
        names: set[str] = set()
        shown = ""
        for grant in self._index.grants(asked.user, asked.namespace if asked.resource else ""):
            for rule in self._index.rules_of(grant):
                if not _permits(rule, asked):
                    continue
                if not rule.names:
                    return ANY_NAME, f"{grant.shown} to {_who(grant, asked.user)}"
                names |= rule.names
                shown = shown or f"{grant.shown} to {_who(grant, asked.user)}"
        return (frozenset(names) or None), shown

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """Everything that the user's bindings permit in a namespace ("": in the cluster)."""
        self._index.catch_up()
        held: list[Rule] = []
        for grant in self._index.grants(user, namespace):
            held += self._index.rules_of(grant)
        return list(dict.fromkeys(held))


def _permits(rule: Rule, asked: Attributes) -> bool:
    if not asked.resource:
        return rule.permits_path(asked.verb, asked.path)
    return rule.permits(asked.verb, asked.group, asked.resource, asked.subresource)


def _who(grant: Grant, user: User) -> str:
    if ("User", user.name) in grant.subjects:
        return f'User "{user.name}"'
    group = next((g for g in user.groups if ("Group", g) in grant.subjects), "")
    return f'Group "{group}"'


def index(caches: Sequence[ResourceCache]) -> RoleIndex:
    """From the caches of the four kinds, in any order."""
    return RoleIndex({cache.resource.plural: cache for cache in caches})
