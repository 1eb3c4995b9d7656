"""Built-in resources that show objects of another version than the store holds (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.machinery import conversion
from cluster.machinery.resources import Resource
from cluster.storage import encoding, keys
from cluster.storage.stored_form import AS_SERVED, StoredForm


class View(StoredForm):
    """`shown` and `stored` are apiVersions."""

    def __init__(self, shown: str, stored: str) -> None:
        self._shown, self._stored = shown, stored

    def load_now(self, stored: bytes) -> bytes:
        return encoding.encode(conversion.convert(encoding.decode(stored), self._shown))

    async def load(self, stored: Sequence[bytes]) -> list[bytes]:
        return [self.load_now(each) for each in stored]

    async def dump(self, data: bytes) -> bytes:
        return encoding.encode(conversion.convert(encoding.decode(data), self._stored))


def of(resource: Resource) -> StoredForm:
    """How the objects of a built-in resource are kept."""
    stored = keys.stored_as(resource).api_version
    shown = resource.api_version
    return AS_SERVED if shown == stored else View(shown, stored)
