"""Who writes: the manager of a request, and the managedFields that its write leaves behind."""

from __future__ import annotations

from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.http.messages import Request
from cluster.machinery import apply, meta, status
from cluster.machinery.apply import Writer

MAX_NAME_CHARS = 128
_STATUS = frozenset({"status"})
_SPEC = frozenset({"spec"})
_NOTHING: frozenset[str] = frozenset()


def name_of(request: Request) -> str:
    """`fieldManager`, or the program that the user agent names first. 422 for a bad name."""
    given = request.parameter("fieldManager")
    if not given:
        program = request.headers.get("user-agent", "").partition("/")[0]
        if not program.isprintable():
            program = "".join(c for c in program if c.isprintable())
        return program[:MAX_NAME_CHARS] or "unknown"
    if len(given) > MAX_NAME_CHARS:
        text = f"Too long: may not be more than {MAX_NAME_CHARS} bytes"
        raise refused("FieldValueTooLong", text, "fieldManager")
    if not given.isprintable():
        text = f'Invalid value: "{given}": should only contain printable characters'
        raise refused("FieldValueInvalid", text, "fieldManager")
    return given


def refused(reason: str, message: str, field: str) -> status.ApiError:
    """422 for a parameter of the request."""
    cause = status.Cause(reason, message, field)
    return status.invalid("PatchOptions.meta.k8s.io", "", [cause])


def writer(call: Call) -> Writer:
    """The writer of a call, and which parts of the object its path lets it write."""
    subresource = call.target.subresource
    ignored, parts, metadata = _NOTHING, None, None
    if subresource == "status":
        parts, metadata = _STATUS, frozenset({"annotations", "finalizers"})
    elif subresource == "approval":
        parts, metadata = _STATUS, _NOTHING
    elif subresource:
        parts, metadata = _SPEC, _NOTHING
    elif call.registry.strategy.has_status:
        ignored = _STATUS
    return Writer(
        name_of(call.request),
        call.resource.api_version,
        meta.format_time(call.context.seams.clock.wall()),
        subresource,
        ignored,
        parts,
        metadata,
    )


def track(call: Call, new: Object, old: Object | None) -> None:
    """Give a new object (`old` is None) or a changed one its managedFields, in place.

    Lists whose items have no keys cannot be tracked; whether they may be is for validation to say.
    """
    try:
        entries = apply.tracked(old, new, writer(call), call.kept.versions)
    except ValueError:
        entries = [] if old is None else old["metadata"].get("managedFields") or []
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)
