"""Audit policies: the first rule that fits a request says how much of it is noted (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.apiserver.authz.attributes import Attributes

API_VERSION = "audit.k8s.io/v1"
NONE, METADATA, REQUEST, REQUEST_RESPONSE = LEVELS = (
    "None",
    "Metadata",
    "Request",
    "RequestResponse",
)
RECEIVED, STARTED, COMPLETE = "RequestReceived", "ResponseStarted", "ResponseComplete"
STAGES = frozenset({RECEIVED, STARTED, COMPLETE, "Panic"})
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much of a request is noted, and when."""

    level: str
    omitted: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    def at_least(self, level: str) -> bool:
        return LEVELS.index(self.level) >= LEVELS.index(level)


class Policy:
    """From a Policy object. Raises ValueError for what is none."""

    def __init__(self, document: Object) -> None:
        if document.get("kind") != "Policy" or document.get("apiVersion") != API_VERSION:
            raise ValueError(f"not a Policy of {API_VERSION}")
        self._rules: Sequence[Object] = document.get("rules") or ()
        omitted = frozenset(document.get("omitStages") or ())
        self._verdicts = [_verdict(rule, document, omitted) for rule in self._rules]

    def of(self, asked: Attributes) -> Verdict:
        """What fits no rule is not noted."""
        for rule, verdict in zip(self._rules, self._verdicts, strict=True):
            if _fits(rule, asked):
                return verdict
        return Verdict(NONE)


def load(path: str) -> Policy:
    """From a YAML file. Raises OSError and ValueError."""
    return Policy(yaml.safe_load(Path(path).read_text()) or {})


def _verdict(rule: Object, document: Object, omitted: frozenset[str]) -> Verdict:
    level, stages = rule.get("level"), frozenset(rule.get("omitStages") or ()) | omitted
    if level not in LEVELS:
        raise ValueError(f"audit policy: unknown level {level!r}, must be one of {LEVELS}")
    if unknown := stages - STAGES:
        raise ValueError(f"audit policy: unknown stages {sorted(unknown)}")
    managed = rule.get("omitManagedFields", document.get("omitManagedFields", False))
    return Verdict(str(level), stages, bool(managed))


def _fits(rule: Object, asked: Attributes) -> bool:
    if rule.get("users") and asked.user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(asked.user.groups):
        return False
    if rule.get("verbs") and asked.verb not in rule["verbs"]:
        return False
    if rule.get("namespaces") and asked.namespace not in rule["namespaces"]:
        return False
    resources, paths = rule.get("resources"), rule.get("nonResourceURLs")
    if not resources and not paths and not rule.get("namespaces"):
        return True
    if asked.resource:
        everything: Sequence[Object] = ({},)
        return not paths and any(_names(each, asked) for each in resources or everything)
    return any(_path(pattern, asked.path) for pattern in paths or ())


def _names(entry: Object, asked: Attributes) -> bool:
    named = "group" in entry or bool(entry.get("resources"))
    if named and entry.get("group", "") != asked.group:
        return False
    if entry.get("resourceNames") and asked.name not in entry["resourceNames"]:
        return False
    listed = entry.get("resources") or ()
    return not listed or any(_resource(pattern, asked) for pattern in listed)


def _resource(pattern: str, asked: Attributes) -> bool:
    """ "pods" is not its subresources; "pods/*" and "*/status" are the ones one expects."""
    if pattern in ("*", asked.full_resource):
        return True
    plural, slash, sub = pattern.partition("/")
    if not slash:
        return False
    return (
        plural in ("*", asked.resource)
        and bool(asked.subresource)
        and (sub in ("*", asked.subresource))
    )


def _path(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])
