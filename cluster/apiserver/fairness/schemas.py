"""FlowSchemas: to which flow of which level a request belongs (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.authz.attributes import Attributes

Object = Mapping[str, Any]
ALL = "*"


@dataclass(frozen=True)
class Schema:
    """A FlowSchema, ready for matching."""

    name: str
    uid: str
    level: str
    precedence: int
    distinguisher: str
    rules: Sequence[Object]

    def fits(self, asked: Attributes) -> bool:
        return any(_fits(rule, asked) for rule in self.rules)

    def flow(self, asked: Attributes) -> str:
        """What tells its flows apart."""
        if self.distinguisher == "ByUser":
            return asked.user.name
        return asked.namespace if self.distinguisher == "ByNamespace" else ""


def parse(obj: Object) -> Schema:
    """From a FlowSchema object."""
    spec, metadata = obj["spec"], obj["metadata"]
    return Schema(
        metadata["name"],
        metadata.get("uid", ""),
        spec["priorityLevelConfiguration"]["name"],
        int(spec.get("matchingPrecedence") or 1000),
        (spec.get("distinguisherMethod") or {}).get("type", ""),
        spec.get("rules") or (),
    )


def ordered(schemas: Sequence[Schema]) -> list[Schema]:
    """In the order in which they are tried."""
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def _fits(rule: Object, asked: Attributes) -> bool:
    if not any(_subject(subject, asked) for subject in rule.get("subjects") or ()):
        return False
    if asked.resource:
        return any(_resource(each, asked) for each in rule.get("resourceRules") or ())
    return any(_path(each, asked) for each in rule.get("nonResourceRules") or ())


def _subject(subject: Object, asked: Attributes) -> bool:
    user, kind = asked.user, subject.get("kind")
    if kind == "User":
        return subject["user"]["name"] in (ALL, user.name)
    if kind == "Group":
        return subject["group"]["name"] == ALL or subject["group"]["name"] in user.groups
    account = subject.get("serviceAccount") or {}
    prefix = f"system:serviceaccount:{account.get('namespace')}:"
    if account.get("name") == ALL:
        return user.name.startswith(prefix)
    return user.name == prefix + str(account.get("name"))


def _has(listed: Sequence[str], value: str) -> bool:
    return ALL in listed or value in listed


def _resource(rule: Object, asked: Attributes) -> bool:
    if not _has(rule.get("verbs") or (), asked.verb):
        return False
    if not _has(rule.get("apiGroups") or (), asked.group):
        return False
    if not _has(rule.get("resources") or (), asked.full_resource):
        return False
    if asked.namespace:
        return _has(rule.get("namespaces") or (), asked.namespace)
    return bool(rule.get("clusterScope"))


def _path(rule: Object, asked: Attributes) -> bool:
    if not _has(rule.get("verbs") or (), asked.verb):
        return False
    return any(
        pattern in (ALL, asked.path)
        or (pattern.endswith("/*") and asked.path.startswith(pattern[:-1]))
        for pattern in rule.get("nonResourceURLs") or ()
    )
