"""What a client is told when a request fails: a `Status` object, as an exception."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machinery.resources import Resource

Status = dict[str, Any]
Named = Resource | str
"""A Resource, or its group resource as text ("deployments.apps")."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a field was refused; reasons and messages are upstream's field.Error."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(Exception):
    """An answer that is not a success; `status` is the object a client receives."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return int(self.status.get("code") or 500)

    @property
    def reason(self) -> str:
        """The machine-readable reason ("NotFound"), or ""."""
        return str(self.status.get("reason") or "")

    @property
    def message(self) -> str:
        """The text for people."""
        return str(self.status.get("message") or "")


def failure(code: int, reason: str, message: str, details: Status | None = None) -> ApiError:
    """An error with any code and reason."""
    status: Status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": message, "reason": reason}
    if details:
        status["details"] = {k: v for k, v in details.items() if v not in ("", None, [])}
    return ApiError(status | {"code": code})


def success(details: Status | None = None) -> Status:
    """The Status object that answers a finished deletion."""
    status: Status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return status | {"details": details} if details else status


def _text(resource: Named) -> str:
    return resource.group_resource if isinstance(resource, Resource) else resource


def _details(resource: Named, name: str, **more: Any) -> Status:
    plural, _, group = _text(resource).partition(".")
    return {"name": name, "group": group, "kind": plural, **more}


def _with_details(code: int, reason: str, text: str, resource: Named, name: str) -> ApiError:
    message = f'{_text(resource)} "{name}" {text}'
    return failure(code, reason, message, _details(resource, name))


def not_found(resource: Named, name: str) -> ApiError:
    """404: there is no such object."""
    return _with_details(404, "NotFound", "not found", resource, name)


def already_exists(resource: Named, name: str) -> ApiError:
    """409: an object of that name is there already."""
    return _with_details(409, "AlreadyExists", "already exists", resource, name)


STALE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(resource: Named, name: str, text: str = STALE) -> ApiError:
    """409: by default, the update was made against a stale resourceVersion."""
    message = f'Operation cannot be fulfilled on {_text(resource)} "{name}": {text}'
    return failure(409, "Conflict", message, _details(resource, name))


def causes_of(causes: Iterable[Cause]) -> list[Status]:
    """The causes as they stand in `details.causes`."""
    return [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]


def invalid(kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: `kind` is the group kind ("Deployment.apps", "Pod"); causes name the fields."""
    plain, _, group = kind.partition(".")
    texts = list(dict.fromkeys(str(cause) for cause in causes))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{kind} "{name}" is invalid' + (f": {text}" if texts else "")
    details = {"name": name, "group": group, "kind": plain, "causes": causes_of(causes)}
    return failure(422, "Invalid", message, details)


def bad_request(message: str) -> ApiError:
    """400: the request cannot be understood."""
    return failure(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    """401: nobody knows who asks."""
    return failure(401, "Unauthorized", message)


def forbidden(resource: Named, name: str, text: str) -> ApiError:
    """403: `pods "x" is forbidden: text`."""
    subject = f'{_text(resource)} "{name}"' if name else _text(resource)
    details = _details(resource, name)
    return failure(403, "Forbidden", f"{subject} is forbidden: {text}", details)


def path_not_found(
    message: str = "the server could not find the requested resource",
) -> ApiError:
    """404 for a path that nothing serves."""
    return failure(404, "NotFound", message, {})


def method_not_allowed(resource: Named, action: str) -> ApiError:
    """405: the resource is there but not this verb."""
    message = f"{action} is not supported on resources of kind {_text(resource)!r}"
    message = message.replace("'", '"')
    return failure(405, "MethodNotAllowed", message, _details(resource, ""))


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """406: none of the asked-for media types can be produced."""
    listed = ", ".join(accepted)
    message = f"only the following media types are accepted: {listed}"
    return failure(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415: the body's media type cannot be read."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return failure(415, "UnsupportedMediaType", message)


def gone(message: str) -> ApiError:
    """410 Expired: the resourceVersion or continue token is too old."""
    return failure(410, "Expired", message)


def request_entity_too_large(message: str) -> ApiError:
    """413: the body is over the limit."""
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def too_many_requests(message: str, retry_after_s: int = 1) -> ApiError:
    """429: come back after `retry_after_s`."""
    details = {"retryAfterSeconds": retry_after_s}
    return failure(429, "TooManyRequests", message, details)


def internal_error(message: str) -> ApiError:
    """500: the server failed, not the request."""
    details = {"causes": [{"message": message}]}
    return failure(500, "InternalError", f"Internal error occurred: {message}", details)


def service_unavailable(message: str) -> ApiError:
    """503: try again later."""
    return failure(503, "ServiceUnavailable", message)


def timeout(message: str) -> ApiError:
    """504: whether the request took effect is not known, so clients must not just repeat it."""
    return failure(504, "Timeout", f"Timeout: {message}")


def resource_version_too_large(wanted: int, current: int) -> ApiError:
    """504 for a resourceVersion of the future; client-go looks for the cause."""
    message = f"Too large resource version: {wanted}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return failure(504, "Timeout", f"Timeout: {message}", details)
