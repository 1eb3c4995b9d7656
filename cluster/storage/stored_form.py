"""How the objects of one version of a resource are kept in the store.

Built-in resources are kept as they are served. Versions of a custom resource share one key each
object, in the resource's storage version: they override what is here.
"""

from __future__ import annotations

from collections.abc import Sequence


class StoredForm:
    """From and to stored bytes (`encoding.encode`): without a resourceVersion."""

    def load_now(self, stored: bytes) -> bytes | None:
        """The object in this version; None if that takes a call of a webhook."""
        return stored

    async def load(self, stored: Sequence[bytes]) -> list[bytes]:
        """All of them in this version. Raises ApiError if they cannot be converted."""
        return list(stored)

    async def dump(self, data: bytes) -> bytes:
        """What is to be stored of an object in this version."""
        return data


AS_SERVED = StoredForm()
