"""CustomResourceDefinitions: the versions that were ever stored are kept in their status."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.machinery.customresources import definition, validation
from cluster.machinery.status import Cause
from cluster.machinery.validation.field import Errors
from cluster.storage import keys
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy

NAME_CLAIMS = keys.CLAIMS + "definitions/"
NAME_SPACES = {
    "plural": "resources",
    "singular": "resources",
    "shortNames": "resources",
    "kind": "kinds",
    "listKind": "kinds",
}
"""Names of resources and names of kinds are unique each among themselves, in a group."""


class DefinitionStrategy(Strategy):
    has_status = True
    counts_generation = True

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}}
        obj["status"]["storedVersions"] = _storage_versions(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        status = new.setdefault("status", {})
        stored = status.get("storedVersions") or []
        added = [v for v in _storage_versions(new) if v not in stored]
        status["storedVersions"] = [*stored, *added]

    def validate_create(self, obj: Object) -> list[Cause]:
        errors = Errors(super().validate_create(obj))
        validation.validate(obj, errors)
        return errors

    def validate_update(self, new: Object, old: Object, subresource: str = "") -> list[Cause]:
        """A schema that was accepted once is not judged again until it changes."""
        errors = Errors(super().validate_update(new, old))
        validation.validate_update(new, old, errors)
        if new.get("spec") != old.get("spec"):
            validation.validate(new, errors)
        elif new.get("status") != old.get("status"):
            validation.validate_stored(new, errors)
        return errors

    def claims(self, obj: Object) -> dict[str, str]:
        """Accepted names: no two servers can give one to two definitions."""
        accepted = (obj.get("status") or {}).get("acceptedNames") or {}
        group = obj["spec"]["group"]
        found = {}
        for field, space in NAME_SPACES.items():
            value = accepted.get(field) or ()
            for name in filter(None, value if isinstance(value, list) else [value]):
                found[f"{NAME_CLAIMS}{group}/{space}/{name}"] = f"status.acceptedNames.{field}"
        return found

    def mark_terminating(self, obj: Object) -> None:
        """From now on nothing can be created; the server deletes what there is, then lets go."""
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if definition.FINALIZER not in finalizers:
            finalizers.append(definition.FINALIZER)
        conditions = obj.setdefault("status", {}).setdefault("conditions", [])
        if any(c["type"] == definition.TERMINATING for c in conditions):
            return
        conditions.append(
            {
                "type": definition.TERMINATING,
                "status": "True",
                "lastTransitionTime": obj["metadata"]["deletionTimestamp"],
                "reason": "InstanceDeletionPending",
                "message": "CustomResourceDefinition marked for deletion; CustomResource deletion "
                "will begin soon",
            }
        )

    def holders(self, obj: Object) -> Iterable[str]:
        """Its objects hold it, until the server has taken away the finalizer for them."""
        if not obj["metadata"].get("deletionTimestamp"):
            return [definition.FINALIZER]
        return super().holders(obj)


def _storage_versions(obj: Object) -> list[str]:
    versions = (obj.get("spec") or {}).get("versions") or ()
    return [v["name"] for v in versions if v.get("storage")]
