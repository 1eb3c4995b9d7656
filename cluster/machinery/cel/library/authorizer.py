"""Asking whether somebody may do something (Kubernetes's authorizer library).

Whoever evaluates an expression injects an `Authorizer` whose `decide` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.machinery.cel.functions import Overload, declare

CHECK_COST = 350_000.0
"""As upstream: two or three checks are all that an expression can afford."""


@dataclass(frozen=True)
class Decision:
    granted: bool
    reason: str = ""
    error: str = ""
    type_name = "kubernetes.authorization.Decision"


@dataclass(frozen=True)
class Query:
    """What is asked: a path, or a resource."""

    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    service_account: tuple[str, str] = ("", "")
    """(namespace, name) of whom it is asked about, if not about who sent the request."""


Decide = Callable[[Query], Decision]


@dataclass(frozen=True)
class Authorizer:
    decide: Decide
    query: Query = Query()
    type_name = "kubernetes.authorization.Authorizer"


@dataclass(frozen=True)
class PathCheck:
    decide: Decide
    query: Query
    type_name = "kubernetes.authorization.PathCheck"


@dataclass(frozen=True)
class GroupCheck:
    decide: Decide
    query: Query
    type_name = "kubernetes.authorization.GroupCheck"


@dataclass(frozen=True)
class ResourceCheck:
    decide: Decide
    query: Query
    type_name = "kubernetes.authorization.ResourceCheck"


def _service_account(found: Authorizer, namespace: str, name: str) -> Authorizer:
    return Authorizer(
        found.decide, dataclasses.replace(found.query, service_account=(namespace, name))
    )


def _check(found: PathCheck | ResourceCheck, verb: str) -> Decision:
    return found.decide(dataclasses.replace(found.query, verb=verb))


_N = "kubernetes.authorization."
_A, _R, _D = f"{_N}Authorizer", f"{_N}ResourceCheck", f"{_N}Decision"


def _setter(function: str, field: str) -> Overload:
    def call(found: ResourceCheck, value: str) -> ResourceCheck:
        changes: dict[str, Any] = {field: value}
        return ResourceCheck(found.decide, dataclasses.replace(found.query, **changes))

    return declare(f"{_R}->{function}(string): {_R}", call)


OVERLOADS: list[Overload] = [
    declare(f"{_A}->path(string): {_N}PathCheck",
            lambda a, p: PathCheck(a.decide, dataclasses.replace(a.query, path=p))),
    declare(f"{_A}->group(string): {_N}GroupCheck",
            lambda a, g: GroupCheck(a.decide, dataclasses.replace(a.query, group=g))),
    declare(f"{_A}->serviceAccount(string,string): {_A}", _service_account),
    declare(f"{_N}GroupCheck->resource(string): {_R}",
            lambda g, r: ResourceCheck(g.decide, dataclasses.replace(g.query, resource=r))),
    _setter("subresource", "subresource"),
    _setter("namespace", "namespace"),
    _setter("name", "name"),
    _setter("fieldSelector", "field_selector"),
    _setter("labelSelector", "label_selector"),
    declare(f"{_N}PathCheck->check(string): {_D}", _check, lambda s: CHECK_COST),
    declare(f"{_R}->check(string): {_D}", _check, lambda s: CHECK_COST),
    declare(f"{_D}->allowed(): bool", lambda d: d.granted),
    declare(f"{_D}->reason(): string", lambda d: d.reason),
    declare(f"{_D}->errored(): bool", lambda d: bool(d.error)),
    declare(f"{_D}->error(): string", lambda d: d.error),
]  # fmt: skip
