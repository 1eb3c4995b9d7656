"""How a resource shows what the store holds: as it is, or converted to its own version (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.machinery import conversion
from cluster.machinery.resources import Resource
from cluster.storage import encoding, keys


@dataclass(frozen=True, slots=True)
class View:
    """`shown` and `stored` are apiVersions; equal ones cost nothing."""

    shown: str
    stored: str

    def show(self, stored: bytes) -> bytes:
        """Bytes of the store in the version that is served."""
        return self._converted(stored, self.shown)

    def store(self, shown: bytes) -> bytes:
        """The stored form of what clients of this version see."""
        return self._converted(shown, self.stored)

    def _converted(self, data: bytes, api_version: str) -> bytes:
        if self.shown == self.stored:
            return data
        return encoding.encode(conversion.convert(encoding.decode(data), api_version))


def of(resource: Resource) -> View:
    """The view of a resource."""
    return View(resource.api_version, keys.stored_as(resource).api_version)
