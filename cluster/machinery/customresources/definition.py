"""Reading a CustomResourceDefinition: its versions as resources that can be served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cluster.machinery import meta
from cluster.machinery.resources import Resource, Subresource

Object = dict[str, Any]

KEY = "apiextensions.k8s.io/v1/customresourcedefinitions"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
ESTABLISHED, NAMES_ACCEPTED, TERMINATING = "Established", "NamesAccepted", "Terminating"
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
WRITABLE = ("get", "patch", "update")

_KUBE_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STABILITY = {None: 2, "beta": 1, "alpha": 0}


def is_established(crd: Object) -> bool:
    return meta.condition_is(crd, ESTABLISHED)


def is_terminating(crd: Object) -> bool:
    return bool(crd["metadata"].get("deletionTimestamp"))


def storage_version(crd: Object) -> str:
    """The name of the version that objects are stored in."""
    return next(str(v["name"]) for v in crd["spec"]["versions"] if v.get("storage"))


def served(crd: Object) -> Iterator[Object]:
    """The versions that are served, the most stable and newest first, as discovery has them."""
    versions = [v for v in crd["spec"]["versions"] if v.get("served")]
    return iter(sorted(versions, key=lambda v: version_order(v["name"])))


def version_order(name: str) -> tuple[int, int, int, str]:
    """Sorts GA before beta before alpha, newer before older, and other names last."""
    match = _KUBE_VERSION.fullmatch(name)
    if match is None:
        return 1, 0, 0, name
    stability = _STABILITY[match[2]]
    return 0, -stability, -int(match[1]), f"{10**9 - int(match[3] or 0):010}"


def subresources(version: Object) -> Object:
    """`status` and `scale` of a version; an empty object switches one on."""
    found = version.get("subresources") or {}
    return {name: found[name] for name in ("status", "scale") if found.get(name) is not None}


def resource(crd: Object, version: Object) -> Resource:
    """One version of a definition as a resource, under the names that were accepted."""
    group, names = crd["spec"]["group"], (crd.get("status") or {}).get("acceptedNames") or {}
    wanted = subresources(version)
    below = []
    if "status" in wanted:
        kind = crd["spec"]["names"]["kind"]
        below.append(Subresource("status", group, version["name"], kind, WRITABLE))
    if "scale" in wanted:
        below.append(Subresource("scale", "autoscaling", "v1", "Scale", WRITABLE))
    return Resource(
        group=group,
        version=version["name"],
        plural=crd["spec"]["names"]["plural"],
        kind=crd["spec"]["names"]["kind"],
        namespaced=crd["spec"]["scope"] == "Namespaced",
        singular=names.get("singular") or "",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=VERBS,
        subresources=tuple(below),
        listed_as=crd["spec"]["names"].get("listKind") or "",
    )


def deprecation(crd: Object, version: Object) -> str:
    """The warning of a deprecated version, or ""."""
    if not version.get("deprecated"):
        return ""
    names = crd["spec"]["names"]
    usual = f"{crd['spec']['group']}/{version['name']} {names['kind']} is deprecated"
    return str(version.get("deprecationWarning") or usual)


def schema_of(version: Object) -> Object:
    """The `openAPIV3Schema` of a version; {} if it has none."""
    found: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return found
