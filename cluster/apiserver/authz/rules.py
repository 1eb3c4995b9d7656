"""What a rule of a role permits, and whether rules cover others (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule; `paths` are its nonResourceURLs."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    def permits(self, verb: str, group: str, resource: str, subresource: str) -> bool:
        """Whether it permits this, of objects whose names it does not restrict."""
        return (
            (verb in self.verbs or ALL in self.verbs)
            and (group in self.groups or ALL in self.groups)
            and self._has(resource, subresource)
        )

    def _has(self, resource: str, subresource: str) -> bool:
        known = self.resources
        if ALL in known:
            return True
        if not subresource:
            return resource in known
        return f"{resource}/{subresource}" in known or f"*/{subresource}" in known

    def permits_path(self, verb: str, path: str) -> bool:
        """Whether it permits a path that is no resource; "/x/*" is every path below /x/."""
        if verb not in self.verbs and ALL not in self.verbs:
            return False
        return any(_matches(pattern, path) for pattern in self.paths)


def _matches(pattern: str, path: str) -> bool:
    if pattern in (ALL, path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


def parse(rule: Object) -> Rule:
    """From the form of the API."""
    return Rule(
        frozenset(rule.get("verbs") or ()),
        frozenset(rule.get("apiGroups") or ()),
        frozenset(rule.get("resources") or ()),
        frozenset(rule.get("resourceNames") or ()),
        tuple(rule.get("nonResourceURLs") or ()),
    )


def parse_all(role: Object) -> tuple[Rule, ...]:
    """The rules of a Role or ClusterRole."""
    return tuple(parse(rule) for rule in role.get("rules") or ())


def uncovered(asked: Sequence[Object], held: Sequence[Rule]) -> list[dict[str, Any]]:
    """The parts of `asked` that the rules held do not permit, each of one verb and resource."""
    return [part for rule in asked for part in _parts(rule) if not _covered(part, held)]


def _parts(rule: Object) -> Iterator[dict[str, Any]]:
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield {"verbs": [verb], "nonResourceURLs": [path]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                part = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                for name in rule.get("resourceNames") or ():
                    yield {**part, "resourceNames": [name]}
                if not rule.get("resourceNames"):
                    yield part


def _covered(part: Object, held: Sequence[Rule]) -> bool:
    verb = part["verbs"][0]
    if "nonResourceURLs" in part:
        path = part["nonResourceURLs"][0]
        return any(rule.permits_path(verb, path) for rule in held)
    resource, _, sub = part["resources"][0].partition("/")
    name = next(iter(part.get("resourceNames") or ()), "")
    return any(
        rule.permits(verb, part["apiGroups"][0], resource, sub)
        and (not rule.names or name in rule.names)
        for rule in held
    )


def shown(rule: Object) -> str:
    """As upstream's messages print a rule: in braces, only the lists that are not empty."""
    names = {
        "nonResourceURLs": "NonResourceURLs",
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "verbs": "Verbs",
    }
    parts = [f"{title}:{_listed(rule[key])}" for key, title in names.items() if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def _listed(values: Iterable[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
