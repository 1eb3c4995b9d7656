"""What a request asks for, read from its method and path alone (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

NAMESPACE_SUBRESOURCES = ("status", "finalize")
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a resource path. `verb` is upstream's: get list watch create ... ."""

    verb: str
    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource_key(self) -> str:
        """What `resources.find` takes: "v1/pods", "apps/v1/deployments"."""
        return f"{self.group_version}/{self.plural}"


def parse(method: str, path: str, flag: Callable[[str], bool]) -> Target | None:
    """The target of a resource request; None for every other path.

    `flag` reads a boolean query parameter: `watch=true` turns a list into a watch. The grammar
    is that of upstream's RequestInfoFactory, without the proxy prefixes of old.
    """
    parts = path.split("/")[1:]
    if parts and parts[-1] == "":
        parts.pop()
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    if "" in _own(rest) or "" in (version, parts[1]):
        return None
    watch_prefix = rest[0] == "watch" and len(rest) > 1
    return _resource(method, group, version, rest[1:] if watch_prefix else rest, watch_prefix, flag)


_PROXIED = re.compile(r"/api/v1/(namespaces/[^/]+/(pods|services)|nodes)/[^/]+/proxy(/|$)")


def is_proxied(path: str) -> bool:
    """Whether a request is for what is behind a pod, a Service or a node."""
    return _PROXIED.match(path) is not None


def _own(rest: list[str]) -> list[str]:
    """The parts that are ours: what is below `proxy` means something elsewhere only."""
    start = 4 if rest[0] == "namespaces" else 2
    return rest[:start] if rest[start : start + 1] == ["proxy"] else rest


def _resource(
    method: str,
    group: str,
    version: str,
    rest: list[str],
    watch_prefix: bool,
    flag: Callable[[str], bool],
) -> Target | None:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    plural, name = rest[0], rest[1] if len(rest) > 1 else ""
    subresource = "proxy" if rest[2:3] == ["proxy"] else "/".join(rest[2:])
    if len(rest) > 3 and subresource != "proxy":
        return None
    if plural == "namespaces" and name and not namespace:
        namespace = name
    watching = watch_prefix or flag("watch")
    verb = _verb(method, bool(name), bool(subresource), watching)
    return Target(verb, group, version, plural, namespace, name, subresource)


def _verb(method: str, named: bool, subresource: bool, watching: bool) -> str:
    if method in ("GET", "HEAD") and not subresource:
        if watching:
            return "watch"
        return "get" if named else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return VERBS.get(method, method.lower())
