"""What can be done with each resource: paths, verbs and parameters, before any version's form."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery import schema
from cluster.machinery.openapi import schemas
from cluster.machinery.resources import Resource

DELETE_OPTIONS = "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"
STATUS = "k8s.io.apimachinery.pkg.apis.meta.v1.Status"

PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
CUSTOM_PATCH_TYPES = tuple(t for t in PATCH_TYPES if "strategic" not in t)
"""kubectl patches strategically what says that it can be."""
BODY_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")

WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
LIST_PARAMETERS = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit",
    "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
DELETE_PARAMETERS = (
    "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
)  # fmt: skip
PARAMETER_TYPES = {
    "allowWatchBookmarks": "boolean", "sendInitialEvents": "boolean", "watch": "boolean",
    "force": "boolean", "orphanDependents": "boolean", "limit": "integer",
    "ignoreStoreReadErrorWithClusterBreakingPotential": "boolean",
    "timeoutSeconds": "integer", "gracePeriodSeconds": "integer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb on one path. `sends` and `answers` are (apiVersion, kind), or None; `codes` are
    those of success, with what they mean.
    """

    path: str
    method: str
    action: str
    operation_id: str
    gvk: tuple[str, str, str]
    path_parameters: tuple[str, ...]
    query_parameters: tuple[str, ...]
    sends: tuple[str, str] | None
    answers: tuple[str, str]
    codes: tuple[tuple[int, str], ...] = ((200, "OK"),)


@dataclass(frozen=True, slots=True)
class _Verb:
    method: str
    action: str
    query: tuple[str, ...]
    on_item: bool
    sends: bool
    codes: tuple[int, ...] = (200,)


_MEANINGS = {200: "OK", 201: "Created", 202: "Accepted"}
_STATUS = ("v1", "Status")
RETURNED = frozenset(
    {"pods", "persistentvolumeclaims", "persistentvolumes", "podtemplates", "resourcequotas",
     "serviceaccounts", "services", "storageclasses.storage.k8s.io", "csidrivers.storage.k8s.io",
     "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io",
     "volumeattributesclasses.storage.k8s.io", "deviceclasses.resource.k8s.io",
     "resourceclaims.resource.k8s.io", "resourceclaimtemplates.resource.k8s.io",
     "resourceslices.resource.k8s.io"}
)  # fmt: skip
"""What a delete answers with; other kinds' deletes say how it went."""

_VERBS = {
    "create": _Verb("post", "post", WRITE_PARAMETERS, False, True, (200, 201, 202)),
    "list": _Verb("get", "list", LIST_PARAMETERS, False, False),
    "deletecollection": _Verb(
        "delete", "deletecollection", LIST_PARAMETERS + DELETE_PARAMETERS, False, False
    ),
    "get": _Verb("get", "get", (), True, False),
    "update": _Verb("put", "put", WRITE_PARAMETERS, True, True, (200, 201)),
    "patch": _Verb("patch", "patch", (*WRITE_PARAMETERS, "force"), True, True, (200, 201)),
    "delete": _Verb("delete", "delete", DELETE_PARAMETERS, True, False, (200, 202)),
}


NO_SCHEMA = ("ExecOptions", "AttachOptions", "PortForwardOptions", "ProxyOptions")
"""The ends of kinds that are only ever read from a query."""


def operations(resources: Sequence[Resource]) -> Iterator[Operation]:
    """Every operation on these resources and their subresources."""
    for resource in resources:
        target = (resource.group, resource.version, resource.kind)
        for verb in resource.verbs:
            yield from _operation(resource, verb, "", target)
            if verb == "list" and resource.namespaced:
                yield from _operation(resource, verb, "", target, across=True)
        for sub in resource.subresources:
            if sub.kind.endswith(NO_SCHEMA):
                continue
            for verb in sub.verbs:
                yield from _operation(resource, verb, sub.name, (sub.group, sub.version, sub.kind))


def _operation(
    resource: Resource,
    name: str,
    subresource: str,
    target: tuple[str, str, str],
    across: bool = False,
) -> Iterator[Operation]:
    verb = _VERBS.get(name)
    if verb is None:  # watch is a parameter of list
        return
    on_item = verb.on_item or bool(subresource)
    group, version, kind = target
    own = (f"{group}/{version}" if group else version, kind)
    names = ("namespace",) * (resource.namespaced and not across) + ("name",) * on_item
    yield Operation(
        path=path_of(resource, on_item, subresource, across),
        method=verb.method,
        action=verb.action,
        operation_id=_operation_id(resource, verb, subresource, across),
        gvk=target,
        path_parameters=names,
        query_parameters=("pretty", *verb.query),
        sends=own if verb.sends else None,
        answers=_answers(resource, name, own),
        codes=tuple((code, _MEANINGS[code]) for code in verb.codes),
    )


def _answers(resource: Resource, name: str, own: tuple[str, str]) -> tuple[str, str]:
    if name == "list":
        return own[0], resource.list_kind
    kept = name == "deletecollection" or resource.group_resource not in RETURNED
    return _STATUS if name.startswith("delete") and kept else own


def render(
    resources: Sequence[Resource],
    path_parameters: Callable[[Operation], list[dict[str, Any]]],
    operation: Callable[[Operation], dict[str, Any]],
) -> tuple[dict[str, Any], list[str]]:
    """The `paths` of a document in a version's form, and all types that they lead to."""
    paths: dict[str, Any] = {}
    types = {DELETE_OPTIONS, STATUS, schema.OBJECT_META, schema.LIST_META}
    for each in operations(resources):
        item = paths.setdefault(each.path, {"parameters": path_parameters(each)})
        item[each.method] = operation(each)
        named = [schema.type_for(*kind) for kind in (each.sends, each.answers) if kind]
        types.update(filter(None, named))
    return paths, schemas.reachable(types)


def patch_types(operation: Operation, custom: Container[tuple[str, str]]) -> tuple[str, ...]:
    """The kinds of patches that an operation takes; `custom`: (apiVersion, kind)s."""
    return CUSTOM_PATCH_TYPES if operation.sends in custom else PATCH_TYPES


def path_of(resource: Resource, on_item: bool, subresource: str = "", across: bool = False) -> str:
    """`/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale`, or a part of it."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    parts = [root]
    if resource.namespaced and not across:
        parts.append("namespaces/{namespace}")
    parts.append(resource.plural)
    if on_item:
        parts.append("{name}")
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def _operation_id(resource: Resource, verb: _Verb, subresource: str, across: bool) -> str:
    words = {"post": "create", "put": "replace", "get": "read", "deletecollection":
             "deleteCollection"}  # fmt: skip
    group = (resource.group.split(".")[0] or "core").capitalize()
    scope = "Namespaced" if resource.namespaced and not across else ""
    version = resource.version.capitalize()
    action = words.get(verb.action, verb.action)
    ending = "ForAllNamespaces" if across else subresource.capitalize()
    return f"{action}{group}{version}{scope}{resource.kind}{ending}"
