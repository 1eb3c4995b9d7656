"""Object metadata: names by kind, labels, annotations, finalizers, owners, and what stays."""

from __future__ import annotations

from collections.abc import Callable

from cluster.machinery import resources
from cluster.machinery.validation import formats
from cluster.machinery.validation.field import IMMUTABLE, Errors, Object

MAX_ANNOTATIONS_BYTES = 256 * 1024
_NAME_FORMATS: dict[str, Callable[[str], list[str]]] = {
    "Namespace": formats.label,
    "Service": formats.label_1035,
    "Role": formats.path_segment,
    "RoleBinding": formats.path_segment,
    "ClusterRole": formats.path_segment,
    "ClusterRoleBinding": formats.path_segment,
    "StatefulSet": formats.label,
    "APIService": formats.path_segment,
    "IPAddress": formats.path_segment,
}
_STANDARD_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
_MAX_NAME = {"CronJob": 52}


def validate(obj: Object, errors: Errors) -> None:
    """The rules for every kind."""
    meta = obj.get("metadata") or {}
    kind = obj.get("kind", "")
    _names(meta, kind, errors)
    _namespace(obj, meta, errors)
    if meta.get("labels"):
        labels(meta["labels"], "metadata.labels", errors)
    if meta.get("annotations"):
        annotation_map(meta["annotations"], "metadata.annotations", errors)
    for at, owner in enumerate(meta.get("ownerReferences") or ()):
        _owner(owner, f"metadata.ownerReferences[{at}]", errors)
    _one_controller(meta.get("ownerReferences") or (), errors)
    own = resources.for_kind(obj.get("apiVersion", ""), kind)
    standard = own is not None and own.group != "apiextensions.k8s.io"
    for finalizer in meta.get("finalizers") or ():
        _finalizer(finalizer, errors, standard)


def _names(meta: Object, kind: str, errors: Errors) -> None:
    check = _NAME_FORMATS.get(kind, formats.subdomain)
    generated = meta.get("generateName")
    if generated:
        # The suffix is to come: a trailing hyphen is fine, as upstream's maskTrailingDash.
        masked = generated[:-1] + "a" if generated.endswith("-") else generated
        errors.all_invalid("metadata.generateName", generated, check(masked))
    name = meta.get("name")
    if not name:
        if not generated:
            errors.required("metadata.name", "name or generateName is required")
        return
    errors.all_invalid("metadata.name", name, check(name))
    most = _MAX_NAME.get(kind)
    if most and len(name) > most:
        errors.invalid("metadata.name", name, f"must be no more than {most} characters")


def _namespace(obj: Object, meta: Object, errors: Errors) -> None:
    resource = resources.for_kind(obj.get("apiVersion", ""), obj.get("kind", ""))
    namespace = meta.get("namespace")
    if resource is None:
        return
    if not resource.namespaced:
        if namespace:
            errors.forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        errors.required("metadata.namespace")
    else:
        errors.all_invalid("metadata.namespace", namespace, formats.label(namespace))


def labels(found: Object, path: str, errors: Errors) -> None:
    """Keys are qualified names; values are short."""
    for key, value in found.items():
        errors.all_invalid(path, key, formats.qualified_name(key))
        errors.all_invalid(path, value, formats.label_value(value or ""))


def annotation_map(found: Object, path: str, errors: Errors) -> None:
    """Keys are qualified names in either case; all together are limited."""
    size = 0
    for key, value in found.items():
        errors.all_invalid(path, key, formats.qualified_name(key.lower()))
        size += len(key.encode()) + len((value or "").encode())
    if size > MAX_ANNOTATIONS_BYTES:
        errors.too_long(path, MAX_ANNOTATIONS_BYTES)


def _owner(owner: Object, path: str, errors: Errors) -> None:
    if not (owner.get("apiVersion") or "").rpartition("/")[2]:
        errors.invalid(
            f"{path}.apiVersion", owner.get("apiVersion") or "", "version must not be empty"
        )
    for name in ("kind", "name", "uid"):
        if not owner.get(name):
            detail = "must not be empty" if name != "kind" else "kind must not be empty"
            errors.invalid(f"{path}.{name}", owner.get(name) or "", detail)


def _one_controller(owners: tuple[Object, ...] | list[Object], errors: Errors) -> None:
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        one, other = (f"{o.get('kind')}/{o.get('name')}" for o in controllers[:2])
        errors.invalid(
            "metadata.ownerReferences",
            list(owners),
            f'Only one reference can have Controller set to true. Found "true" in references '
            f"for {one} and {other}",
        )


def _finalizer(finalizer: str, errors: Errors, standard: bool) -> None:
    """Bare names are those of Kubernetes alone; custom resources may have any."""
    errors.all_invalid("metadata.finalizers", finalizer, formats.qualified_name(finalizer))
    if standard and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        errors.invalid(
            "metadata.finalizers[0]",
            finalizer,
            "name is neither a standard finalizer name nor is it fully qualified",
        )


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """What identifies an object never changes, and a dying one gets no new finalizers."""
    after, before = new.get("metadata") or {}, old.get("metadata") or {}
    names = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
             "deletionGracePeriodSeconds")  # fmt: skip
    for name in names:
        if after.get(name) != before.get(name):
            errors.invalid(f"metadata.{name}", after.get(name), IMMUTABLE)
    if before.get("deletionTimestamp"):
        known = before.get("finalizers") or ()
        added = [f for f in after.get("finalizers") or () if f not in known]
        if added:
            errors.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new "
                "finalizers []string{" + ", ".join(f'"{f}"' for f in added) + "}",
            )


def immutable(new: Object, old: Object, path: str, errors: Errors) -> None:
    """One cause if the value at a dotted path below the object has changed."""
    after, before = new, old
    for step in path.split("."):
        after, before = (after or {}).get(step, None), (before or {}).get(step, None)  # type: ignore[assignment]
    if after != before:
        errors.invalid(path, after, IMMUTABLE)
