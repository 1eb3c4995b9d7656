"""Between the versions of a custom resource: as the definition says, by name or by webhook."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from actors.seams import Seams
from cluster.apiserver.webhooks import WebhookClient, WebhookError
from cluster.machinery import status
from cluster.machinery.customresources import conversion
from cluster.machinery.customresources.kind import CustomKind
from cluster.storage import encoding
from cluster.storage.encoding import Object
from cluster.storage.stored_form import StoredForm

TIMEOUT_S = 30.0
BATCH = 500


class Converter:
    """`webhook` is the definition's `spec.conversion.webhook`, or None."""

    def __init__(self, webhook: Mapping[str, Any] | None, client: WebhookClient, seams: Seams):
        self.webhook = webhook
        self._client, self._seams = client, seams

    def rename(self, obj: Object, api_version: str) -> Object:
        """Without a webhook versions differ in name only."""
        obj["apiVersion"] = api_version
        return obj

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """All of them in this version. Raises ApiError (500) when the webhook fails."""
        if self.webhook is None:
            return [self.rename(obj, api_version) for obj in objects]
        found: list[Object] = []
        for at in range(0, len(objects), BATCH):
            found += await self._ask(objects[at : at + BATCH], api_version)
        return found

    async def _ask(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        assert self.webhook is not None
        uid = str(uuid.UUID(int=self._seams.randomness.getrandbits(128), version=4))
        versions = self.webhook.get("conversionReviewVersions") or ()
        asked = conversion.review(objects, api_version, uid, versions)
        try:
            answer = await self._client.call(self.webhook["clientConfig"], asked, TIMEOUT_S)
            return conversion.converted(answer, asked)
        except (WebhookError, conversion.ConversionError) as error:
            first = objects[0]
            about = f"{first['apiVersion']}, Kind={first['kind']}"
            text = f"conversion webhook for {about} failed: {error}"
            raise status.failure(500, "InternalError", text) from error


class VersionForm(StoredForm):
    """One version; all objects are written in the storage version."""

    def __init__(
        self, api_version: str, storage: str, kinds: Mapping[str, CustomKind], converter: Converter
    ) -> None:
        """`kinds`: by apiVersion, of all versions of the definition."""
        self._own, self._storage = api_version, storage
        self._kinds, self._converter = kinds, converter

    def load_now(self, stored: bytes) -> bytes | None:
        obj = self._read(stored)
        if obj["apiVersion"] != self._own:
            if self._converter.webhook is not None:
                return None
            obj = self._finish(self._converter.rename(obj, self._own))
        return encoding.encode(obj)

    async def load(self, stored: Sequence[bytes]) -> list[bytes]:
        objects = [self._read(each) for each in stored]
        foreign = [at for at, obj in enumerate(objects) if obj["apiVersion"] != self._own]
        if foreign:
            converted = await self._converter.convert([objects[at] for at in foreign], self._own)
            for at, obj in zip(foreign, converted, strict=True):
                objects[at] = self._finish(obj)
        return [encoding.encode(obj) for obj in objects]

    async def dump(self, data: bytes) -> bytes:
        if self._own == self._storage:
            return data
        (obj,) = await self._converter.convert([encoding.decode(data)], self._storage)
        self._kinds[self._storage].read(obj)
        return encoding.encode(obj)

    def _read(self, stored: bytes) -> Object:
        """With the defaults of the version that it was stored in."""
        obj = encoding.decode(stored)
        kind = self._kinds.get(obj["apiVersion"])
        if kind is not None:
            kind.read(obj)
        return obj

    def _finish(self, obj: Object) -> Object:
        self._kinds[self._own].read(obj)
        return obj
