"""Request bodies: from bytes in three encodings to an object that its schema allows."""

from __future__ import annotations

from typing import Any

from cluster.apiserver.http.messages import Request
from cluster.apiserver.negotiation import JSON, PROTOBUF, YAML, body_type
from cluster.machinery import defaulting, empties, kinds, status, strict
from cluster.machinery.codec import json_codec, protobuf, yaml_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.kinds import Kind

Object = dict[str, Any]

IGNORE, WARN, STRICT = "Ignore", "Warn", "Strict"
MAX_WARNINGS = 20


def field_validation(request: Request) -> str:
    """The mode that the client asks for; Warn is the default since 1.27."""
    mode = request.parameter("fieldValidation") or WARN
    if mode not in (IGNORE, WARN, STRICT):
        cause = status.Cause(
            "FieldValueNotSupported",
            f'Unsupported value: "{mode}": supported values: "Ignore", "Strict", "Warn"',
            "fieldValidation",
        )
        raise status.invalid("CreateOptions.meta.k8s.io", "", [cause])
    return mode


def read(request: Request, api_version: str, kind: str, form: Kind | None = None) -> Object:
    """The body as an object of this kind, checked, pruned and with defaults filled in.

    `form` describes kinds that are not in the tables.
    """
    media_type = body_type(request.headers.get("content-type", ""))
    if media_type == PROTOBUF and form is not None:
        raise status.unsupported_media_type((JSON, YAML))
    obj = decode(request.body, media_type, kind)
    doubles = duplicates(request, media_type, obj)
    require_kind(obj, api_version, kind)
    return conform(request, obj, doubles, form)


def decode(body: bytes, media_type: str, kind: str) -> Object:
    """Bytes to an object; 400 if they are malformed or there are none."""
    if not body:
        raise status.bad_request(f"the request body is empty (must be of type {kind})")
    try:
        if media_type == PROTOBUF:
            return protobuf.decode(body)
        return yaml_codec.decode(body) if media_type == YAML else json_codec.decode(body)
    except BadRequest as error:
        text = f"the object provided is unrecognized (must be of type {kind}): {error}"
        raise status.bad_request(text) from error


def require_kind(obj: Object, api_version: str, kind: str) -> None:
    """400 if the object says that it is something else than the path serves.

    What it leaves out is what the path says, as upstream's decoder has it; the Python client
    sends objects without either.
    """
    for field, expected in (("kind", kind), ("apiVersion", api_version)):
        if obj.get(field) in (None, ""):
            obj[field] = expected
        if not isinstance(obj[field], str):
            raise status.bad_request(f"{field} must be a string")
    if obj["apiVersion"] != api_version:
        raise status.bad_request(
            f"the API version in the data ({obj['apiVersion']}) does not match "
            f"the expected API version ({api_version})"
        )
    if obj["kind"] != kind:
        raise status.bad_request(
            f'{obj["kind"]} in version "{api_version}" cannot be handled as a {kind}: '
            f"the kind in the data ({obj['kind']}) does not match the expected kind ({kind})"
        )


def conform(
    request: Request,
    obj: Object,
    doubles: list[str],
    form: Kind | None = None,
    parts: frozenset[str] | None = None,
) -> Object:
    """As `checked`, with defaults filled in. `parts`: the fields that may be other than they were
    stored, where that is known; only those are looked at.
    """
    managers = _without_managers(obj)
    if parts is None or form is not None:
        checked(request, obj, doubles, form).default(obj)
    else:
        _conform_parts(request, obj, doubles, parts)
    if managers is not None:
        obj["metadata"]["managedFields"] = managers
    return obj


def _conform_parts(
    request: Request, obj: Object, doubles: list[str], parts: frozenset[str]
) -> None:
    """What follows from several fields is still filled in for the whole object."""
    looked_at = {*parts, "kind", "apiVersion"}
    part = {name: value for name, value in obj.items() if name in looked_at}
    empties.drop(part, checked(request, part, doubles).merge_type)
    for name in looked_at:
        if name in part:
            obj[name] = part[name]
        else:
            obj.pop(name, None)
    defaulting.apply(obj)


def _without_managers(obj: Object) -> Any:
    """Takes managedFields out: field management checks them, and they are as large as the rest."""
    metadata = obj.get("metadata")
    return metadata.pop("managedFields", None) if isinstance(metadata, dict) else None


def checked(request: Request, obj: Object, doubles: list[str], form: Kind | None = None) -> Kind:
    """Types checked (400), unknown fields reported as the client wants and dropped; the kind."""
    api_version, kind = obj["apiVersion"], obj["kind"]
    form = form or kinds.built_in(api_version, kind)
    if form is None:
        raise status.bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
    wrong = form.check_types(obj)
    if wrong:
        text = f'{kind} in version "{api_version}" cannot be handled as a {kind}: {wrong[0]}'
        raise status.bad_request(text)
    unknown = form.unknown_fields(obj)
    report(request, [*unknown, *doubles])
    form.prune(obj, known=not unknown)
    return form


def report(request: Request, findings: list[str]) -> None:
    """Strict: 400 with all of them; Warn: a warning header for each; Ignore: nothing."""
    if not findings:
        return
    mode = field_validation(request)
    if mode == STRICT:
        raise status.bad_request(f"strict decoding error: {', '.join(findings)}")
    if mode == WARN:
        request.warnings.extend(findings[:MAX_WARNINGS])


def duplicates(request: Request, media_type: str, obj: Object) -> list[str]:
    """Fields that the text of `obj` has twice in one place; protobuf has no such thing."""
    if media_type == PROTOBUF or field_validation(request) == IGNORE:
        return []
    if media_type == JSON or request.body.lstrip()[:1] == b"{":
        return strict.duplicate_fields(request.body, obj)
    return yaml_codec.duplicate_fields(request.body)
