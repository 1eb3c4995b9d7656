"""Access to devices for administration: only in namespaces that are labelled for it.

Such a claim gets devices that belong to others, so not everybody who may make claims may have it
(upstream's DRAAdminAccess; it is a rule of the resources, no plugin that can be turned off).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cluster.apiserver.admission.chain import Plugin, Review
from cluster.machinery import status
from cluster.machinery.validation.field import Errors

Object = dict[str, Any]
LABEL = "resource.kubernetes.io/admin-access"
FindLabels = Callable[[str], Awaitable[Mapping[str, str]]]
"""The labels of a namespace."""
_PATHS = {
    "resourceclaims": ("spec", "devices"),
    "resourceclaimtemplates": ("spec", "spec", "devices"),
}
"""What is asked for never changes, so only creations are looked at."""


def check(find_labels: FindLabels) -> Plugin:
    """A validating plugin."""

    async def plugin(review: Review) -> None:
        path = _PATHS.get(review.resource.plural)
        new = review.creates(review.resource.plural, "resource.k8s.io") if path else None
        if not path or new is None or not (asked := _asked(new, path)):
            return
        if (await find_labels(review.namespace)).get(LABEL) == "true":
            return
        errors = Errors()
        for at in asked:
            where = f"{'.'.join(path)}.requests[{at}].exactly.adminAccess"
            text = f"admin access to devices requires the `{LABEL}: true` label on the containing"
            errors.forbidden(where, f"{text} namespace")
        raise status.invalid(review.resource.group_kind, review.name, errors)

    return plugin


def _asked(obj: Object, path: tuple[str, ...]) -> list[int]:
    """Numbers of the requests for it."""
    found: Any = obj
    for part in path:
        found = found.get(part) or {}
    requests = found.get("requests") or ()
    return [n for n, each in enumerate(requests) if (each.get("exactly") or {}).get("adminAccess")]
