"""The rules of a CustomResourceDefinition itself (apiextensions' validation.go)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.machinery import jsonpath, meta
from cluster.machinery.customresources import definition, names
from cluster.machinery.structural import default_values as defaults
from cluster.machinery.structural import parse, rule_schemas, rules
from cluster.machinery.validation import formats, webhook_clients
from cluster.machinery.validation.field import IMMUTABLE, Errors

Object = dict[str, Any]

SCOPES = ("Cluster", "Namespaced")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
REVIEW_VERSIONS = ("v1", "v1beta1")
MAX_SELECTABLE = 8
SELECTABLE_TYPES = ("string", "boolean", "integer")


def validate(crd: Object, errors: Errors) -> None:
    """Append every cause against a new definition, or the new state of one."""
    spec = crd.get("spec") or {}
    _name(crd, spec, errors)
    _group(spec.get("group") or "", errors)
    errors.one_of("spec.scope", spec.get("scope"), SCOPES)
    _names(spec.get("names") or {}, "spec.names", errors)
    if spec.get("preserveUnknownFields"):
        text = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        errors.invalid("spec.preserveUnknownFields", True, text)
    _conversion(spec, errors)
    _versions(spec, errors)
    validate_stored(crd, errors)
    _approval(crd, errors)


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """What may not change: the group always, the rest once objects may exist."""
    _immutable(new, old, ("spec", "group"), errors)
    if definition.is_established(old):
        for path in (("spec", "scope"), ("spec", "names", "kind"), ("spec", "names", "plural")):
            _immutable(new, old, path, errors)


def _immutable(new: Object, old: Object, path: tuple[str, ...], errors: Errors) -> None:
    after: Any = new
    before: Any = old
    for name in path:
        after, before = (after or {}).get(name), (before or {}).get(name)
    if after != before:
        errors.invalid(".".join(path), after, IMMUTABLE)


def _name(crd: Object, spec: Object, errors: Errors) -> None:
    wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
    if meta.name(crd) != wanted:
        text = 'must be spec.names.plural+"."+spec.group'
        errors.invalid("metadata.name", meta.name(crd), text)


def _group(group: str, errors: Errors) -> None:
    if not group:
        errors.required("spec.group")
        return
    errors.all_invalid("spec.group", group, formats.subdomain(group))
    if "." not in group:
        errors.invalid("spec.group", group, "should be a domain with at least one dot")


def _names(found: Object, path: str, errors: Errors) -> None:
    for name in ("plural", "singular"):
        _dns(f"{path}.{name}", found.get(name), errors, name == "plural")
    for at, short in enumerate(found.get("shortNames") or ()):
        _dns(f"{path}.shortNames[{at}]", short, errors)
    for at, category in enumerate(found.get("categories") or ()):
        _dns(f"{path}.categories[{at}]", category, errors)
    for name in ("kind", "listKind"):
        value = found.get(name)
        if not value:
            errors.required(f"{path}.{name}")
            continue
        for text in formats.label_1035(value.lower()):
            text = f"may have mixed case, but should otherwise match: {text}"
            errors.invalid(f"{path}.{name}", value, text)
    if found.get("kind") and found.get("kind") == found.get("listKind"):
        text = "kind and listKind may not be the same"
        errors.invalid(f"{path}.listKind", found["listKind"], text)


def _dns(path: str, value: Any, errors: Errors, required: bool = False) -> None:
    if not value:
        if required:
            errors.required(path)
        return
    errors.all_invalid(path, value, formats.label_1035(value))


# -- conversion --------------------------------------------------------------------------------


def _conversion(spec: Object, errors: Errors) -> None:
    found = spec.get("conversion") or {"strategy": "None"}
    path, webhook = "spec.conversion", found.get("webhook")
    errors.one_of(f"{path}.strategy", found.get("strategy"), ("None", "Webhook"))
    if found.get("strategy") != "Webhook":
        if webhook:
            text = "should not be set when strategy is not set to Webhook"
            errors.forbidden(f"{path}.webhook", text)
        return
    if not webhook:
        errors.required(f"{path}.webhook", "required when strategy is set to Webhook")
        return
    client = webhook.get("clientConfig")
    if not client:
        text = "required when strategy is set to Webhook"
        errors.required(f"{path}.webhook.clientConfig", text)
    else:
        webhook_clients.validate(client, f"{path}.webhook.clientConfig", errors)
    _review_versions(webhook.get("conversionReviewVersions") or [], f"{path}.webhook", errors)


def _review_versions(versions: list[str], path: str, errors: Errors) -> None:
    at = f"{path}.conversionReviewVersions"
    if not versions:
        errors.required(at)
        return
    for place, version in enumerate(versions):
        if version in versions[:place]:
            errors.invalid(f"{at}[{place}]", version, "duplicate version")
        else:
            errors.all_invalid(f"{at}[{place}]", version, formats.label_1035(version))
    if not set(versions) & set(REVIEW_VERSIONS):
        text = "must include at least one of v1, v1beta1"
        errors.invalid(at, versions, text)


# -- versions ----------------------------------------------------------------------------------


def _versions(spec: Object, errors: Errors) -> None:
    versions = spec.get("versions") or []
    seen: set[str] = set()
    for at, version in enumerate(versions):
        name = version.get("name") or ""
        path = f"spec.versions[{at}]"
        errors.all_invalid(f"{path}.name", name, formats.label_1035(name))
        if version.get("deprecationWarning") is not None:
            _warning(version, path, errors)
        if name in seen:
            text = "must contain unique version names"
            errors.invalid("spec.versions", [v.get("name") for v in versions], text)
        seen.add(name)
        _parts(version, path, errors)
    if sum(1 for v in versions if v.get("storage")) != 1:
        text = "must have exactly one version marked as storage version"
        errors.invalid("spec.versions", [v.get("name") for v in versions], text)
    _schemas(versions, errors)


def _warning(version: Object, path: str, errors: Errors) -> None:
    text, at = version["deprecationWarning"], f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        errors.invalid(at, text, "can only be set for deprecated versions")
    if len(text.encode()) > 256:
        errors.invalid(at, text, "must be <= 256 characters long")
    elif not text:
        errors.invalid(at, text, "must not be empty")


def _schemas(versions: list[Object], errors: Errors) -> None:
    """Upstream names a schema that all versions share as if it stood at the top."""
    found = [definition.schema_of(v) for v in versions]
    shared = len(found) > 0 and bool(found[0]) and all(each == found[0] for each in found)
    if shared:
        schema_rules(found[0], "spec.validation.openAPIV3Schema", errors)
        return
    for at, each in enumerate(found):
        path = f"spec.versions[{at}].schema.openAPIV3Schema"
        if not each:
            errors.required(path, "schemas are required")
        else:
            schema_rules(each, path, errors)


def schema_rules(raw: Mapping[str, Any], path: str, errors: Errors) -> None:
    """Structure first: what is not structural cannot be read any further."""
    before = len(errors)
    rules.check(raw, path, errors)
    if len(errors) == before:
        found = parse(raw)
        defaults.check(found, path, errors)
        rule_schemas.check(found, path, errors)


def _parts(version: Object, path: str, errors: Errors) -> None:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        _scale(scale, f"{path}.subresources.scale", errors)
    for at, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _column(column, f"{path}.additionalPrinterColumns[{at}]", errors)
    selectable = version.get("selectableFields") or []
    if len(selectable) > MAX_SELECTABLE:
        errors.too_many(f"{path}.selectableFields", len(selectable), MAX_SELECTABLE)
    seen: set[str] = set()
    for at, each in enumerate(selectable):
        where = f"{path}.selectableFields[{at}].jsonPath"
        if each.get("jsonPath") in seen:
            errors.duplicate(where, each["jsonPath"])
        seen.add(each.get("jsonPath") or "")
        _selectable(each.get("jsonPath") or "", definition.schema_of(version), where, errors)


def _scale(scale: Object, path: str, errors: Errors) -> None:
    below = {
        "specReplicasPath": ((".spec.",), "should be a json path under .spec", True),
        "statusReplicasPath": ((".status.",), "should be a json path under .status", True),
        "labelSelectorPath": (
            (".spec.", ".status."), "should be a json path under either .spec or .status", False
        ),
    }  # fmt: skip
    for name, (prefixes, text, required) in below.items():
        value = scale.get(name)
        if not value:
            if required:
                errors.required(f"{path}.{name}")
            continue
        if not jsonpath.is_simple(value):
            errors.invalid(
                f"{path}.{name}", value, "is an invalid path: only simple json path is allowed"
            )
        elif not value.startswith(prefixes):
            errors.invalid(f"{path}.{name}", value, text)


def _column(column: Object, path: str, errors: Errors) -> None:
    if not column.get("name"):
        errors.required(f"{path}.name")
    errors.one_of(f"{path}.type", column.get("type"), COLUMN_TYPES)
    if column.get("format") and column["format"] not in COLUMN_FORMATS:
        errors.not_supported(f"{path}.format", column["format"], COLUMN_FORMATS)
    where = column.get("jsonPath")
    if not where:
        errors.required(f"{path}.jsonPath")
        return
    try:
        jsonpath.parse(where)
        if not where.startswith((".", "[", "{")):
            raise jsonpath.PathError("must start with a dot")
    except jsonpath.PathError as error:
        errors.invalid(f"{path}.jsonPath", where, f"is an invalid json path: {error}")


def _selectable(where: str, raw: Object, path: str, errors: Errors) -> None:
    if not where:
        errors.required(path)
        return
    if not jsonpath.is_simple(where):
        errors.invalid(path, where, "must be a simple json path")
        return
    steps = jsonpath.fields(where)
    if steps[0] == "metadata":
        errors.invalid(path, where, "must not point to fields in metadata")
        return
    found: Any = raw
    for step in steps:
        found = (found.get("properties") or {}).get(step) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        errors.invalid(path, where, "does not refer to a valid field")
    elif found.get("type") not in SELECTABLE_TYPES:
        text = (
            "must point to a field of type string, boolean or integer. Enum string fields and "
            "strings with formats are allowed."
        )
        errors.invalid(path, where, text)


# -- the rest ----------------------------------------------------------------------------------


def validate_stored(crd: Object, errors: Errors) -> None:
    """A version that objects may be stored in cannot go."""
    stored = (crd.get("status") or {}).get("storedVersions")
    if stored is None:
        return
    known = [v.get("name") for v in (crd.get("spec") or {}).get("versions") or ()]
    if not stored:
        errors.invalid("status.storedVersions", stored, "must have at least one stored version")
    for at, name in enumerate(stored):
        if name not in known:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must "
                "remain in spec.versions until a storage migration ensures no data remains "
                f"persisted in {name} and removes {name} from status.storedVersions"
            )
            errors.invalid(f"status.storedVersions[{at}]", name, text)


def _approval(crd: Object, errors: Errors) -> None:
    condition = names.approval(crd) if (crd.get("spec") or {}).get("group") else None
    if condition is None or condition["status"] == "True":
        return
    path = f"metadata.annotations[{names.APPROVAL}]"
    if condition["reason"] == "MissingAnnotation":
        errors.required(path, condition["message"])
    elif condition["reason"] != "UnapprovedAnnotation":
        note = crd["metadata"]["annotations"][names.APPROVAL]
        errors.invalid(path, note, condition["message"])
