"""Custom resources: what writing one means follows from its definition."""

from __future__ import annotations

from typing import Any

from cluster.machinery import jsonpath
from cluster.machinery.customresources import definition
from cluster.machinery.customresources.kind import CustomKind
from cluster.machinery.scale import at
from cluster.machinery.status import Cause
from cluster.machinery.structural import values
from cluster.machinery.structural.embedded import validate_embedded
from cluster.machinery.structural.expressions import Rules
from cluster.machinery.validation import metadata
from cluster.machinery.validation.field import Errors
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy, keep


class CustomStrategy(Strategy):
    """Of one version of a definition."""

    counts_generation = True

    def __init__(self, version: Object, kind: CustomKind, rules: Rules) -> None:
        self._structural, self._rules = kind.structural, rules
        self.has_status = "status" in definition.subresources(version)
        paths = [s["jsonPath"] for s in version.get("selectableFields") or ()]
        self._selectable = {path.lstrip("."): jsonpath.fields(path) for path in paths}
        self.selectable = tuple(self._selectable)

    def fields(self, obj: Object) -> dict[str, str]:
        return {name: _text(at(obj, path)) for name, path in self._selectable.items()}

    def observed(self, obj: Object) -> Any:
        """All but the metadata, and but the status where that is written apart."""
        apart = {"metadata", "status"} if self.has_status else {"metadata"}
        return {name: value for name, value in obj.items() if name not in apart}

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        if self.has_status:
            del obj["status"]

    def prepare_status(self, new: Object, old: Object) -> None:
        """A write to `/status` changes nothing else, not even labels."""
        for part in {*new, *old} - {"status", "metadata"}:
            keep(new, old, part)
        managed = new["metadata"].get("managedFields")
        new["metadata"] = dict(old["metadata"])
        if managed is not None:
            new["metadata"]["managedFields"] = managed

    def validate_create(self, obj: Object) -> list[Cause]:
        errors = Errors()
        metadata.validate({**obj, "kind": ""}, errors)
        self._judge(obj, values.ABSENT, errors)
        return errors

    def validate_update(self, new: Object, old: Object, subresource: str = "") -> list[Cause]:
        errors = Errors()
        metadata.validate({**new, "kind": ""}, errors)
        metadata.validate_update(new, old, errors)
        self._judge(new, old, errors)
        return errors

    def _judge(self, new: Object, old: Any, errors: Errors) -> None:
        values.validate(new, self._structural, errors, old)
        validate_embedded(new, self._structural, errors)
        self._rules.validate(new, old, errors)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
