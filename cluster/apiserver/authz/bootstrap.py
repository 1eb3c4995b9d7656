"""The roles and bindings that every cluster has, kept as they should be (see the YAML file).

As upstream reconciles them: what is missing is added, what an administrator has added stays, and
an object whose autoupdate annotation says "false" is left alone.
"""

from __future__ import annotations

import asyncio
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from cluster.apiserver.authz import rules
from cluster.apiserver.context import Kept
from cluster.machinery.status import ApiError

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
API_VERSION = f"{GROUP}/v1"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
SHORT = {
    "read": ("get", "list", "watch"),
    "write": ("create", "update", "patch", "delete", "deletecollection"),
}
EVENTS = "create,update,patch core,events.k8s.io events"
CONTROLLER = "system:controller:"
AT_ONCE = 32
PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


def policy() -> list[Object]:
    """All objects, roles first."""
    text = importlib.resources.files(__package__).joinpath("bootstrap_roles.yaml").read_text()
    table = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [*_roles(table), *_bindings(table)]


def _roles(table: Object) -> Iterator[Object]:
    for name, described in table["cluster_roles"].items():
        yield _cluster_role(name, described)
    for name, listed in table["controllers"].items():
        yield _object("ClusterRole", CONTROLLER + name, rules=_rules(listed))
    for path, described in table["roles"].items():
        namespace, _, name = path.partition("/")
        yield _object("Role", name, namespace, rules=_rules(described["rules"]))


def _cluster_role(name: str, described: Any) -> Object:
    if isinstance(described, list):
        return _object("ClusterRole", name, rules=_rules(described))
    role = _object("ClusterRole", name, rules=_rules(described.get("rules") or ()))
    role["metadata"]["labels"] |= {_label(into): "true" for into in described.get("into") or ()}
    if "aggregate" in described:
        selectors = [{"matchLabels": {_label(of): "true"}} for of in described["aggregate"]]
        role["aggregationRule"] = {"clusterRoleSelectors": selectors}
        del role["rules"]
    return role


def _label(name: str) -> str:
    return f"{GROUP}/aggregate-to-{name}"


def _bindings(table: Object) -> Iterator[Object]:
    for name, subjects in table["cluster_bindings"].items():
        yield _binding("ClusterRoleBinding", "ClusterRole", name, "", subjects)
    for name in table["controllers"]:
        subjects = [f"account:kube-system/{name}"]
        yield _binding("ClusterRoleBinding", "ClusterRole", CONTROLLER + name, "", subjects)
    for path, described in table["roles"].items():
        namespace, _, name = path.partition("/")
        if described["subjects"]:
            yield _binding("RoleBinding", "Role", name, namespace, described["subjects"])


def _binding(kind: str, role: str, name: str, namespace: str, subjects: Sequence[str]) -> Object:
    ref = {"apiGroup": GROUP, "kind": role, "name": name}
    named = [_subject(subject) for subject in subjects]
    return _object(kind, name, namespace, roleRef=ref, subjects=named)


def _subject(text: str) -> Object:
    kind, _, name = text.partition(":")
    if kind == "account":
        namespace, _, account = name.partition("/")
        return {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return {"apiGroup": GROUP, "kind": kind.capitalize(), "name": name}


def _rules(listed: Sequence[str]) -> list[Object]:
    return [_rule(EVENTS if text == "events" else text) for text in listed]


def _rule(text: str) -> Object:
    verbs, groups, resources, *names = text.split(" ")
    rule: Object = {"verbs": [v for part in verbs.split(",") for v in SHORT.get(part, (part,))]}
    if groups == "url":
        return rule | {"nonResourceURLs": resources.split(",")}
    rule["apiGroups"] = ["" if group == "core" else group for group in groups.split(",")]
    rule["resources"] = resources.split(",")
    return rule | ({"resourceNames": names[0].split(",")} if names else {})


def _object(kind: str, name: str, namespace: str = "", **parts: Any) -> Object:
    metadata: Object = {
        "name": name,
        "labels": dict(LABELS),
        "annotations": {AUTOUPDATE: "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"kind": kind, "apiVersion": API_VERSION, "metadata": metadata, **parts}


async def ensure(kept: Mapping[str, Kept]) -> None:
    """Reconcile all of them; several servers may do this at once."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(wanted: Object) -> None:
        async with limit:
            await _ensure(kept[f"{API_VERSION}/{PLURALS[wanted['kind']]}"], wanted)

    await asyncio.gather(*(one(wanted) for wanted in policy()))


async def _ensure(kept: Kept, wanted: Object) -> None:
    metadata = wanted["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    entry = kept.registry.cache.get(kept.registry.key(namespace, name))
    if entry is None:
        try:
            await kept.registry.create(wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        else:
            return
    elif reconciled(entry.decode(), wanted) is None:
        return

    async def change(old: Object) -> Object:
        return reconciled(old, wanted) or old

    await kept.registry.update(namespace, name, change)


def reconciled(old: Object, wanted: Object) -> Object | None:
    """What `old` should become; None if it may stay as it is."""
    annotations = old["metadata"].get("annotations") or {}
    if annotations.get(AUTOUPDATE) == "false":
        return None
    new = {**old, "metadata": {**old["metadata"]}}
    for part in ("labels", "annotations"):
        new["metadata"][part] = wanted["metadata"][part] | (old["metadata"].get(part) or {})
    if "subjects" in wanted:
        held = old.get("subjects") or []
        missing = [s for s in wanted["subjects"] if s not in held]
        new["subjects"] = [*held, *missing]
    elif "aggregationRule" in wanted:
        new["aggregationRule"] = old.get("aggregationRule") or wanted["aggregationRule"]
    else:
        missing = rules.uncovered(wanted["rules"], rules.parse_all(old))
        new["rules"] = [*(old.get("rules") or ()), *missing]
    return None if _same(new, old) else new


def _same(new: Object, old: Object) -> bool:
    plain = {**old, "subjects": old.get("subjects") or []} if "subjects" in new else old
    return new == plain
