"""ControllerRevisions: the templates that a DaemonSet or StatefulSet has had, to roll back to."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from cluster.client import Client
from cluster.controllers import adoption
from cluster.controllers.deployment_facts import plain
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

RESOURCE = "controllerrevisions.apps"
HASH = "controller-revision-hash"
DEFAULT_LIMIT = 10
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def data_of(owner: Object) -> Object:
    """The patch that brings back today's template; kubectl's rollout undo sends it."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def apply(owner: Object, revision: Object) -> Object:
    """The owner with the template of that revision."""
    template = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return {**owner, "spec": {**owner["spec"], "template": template}}


def hash_of(data: Object, collisions: int) -> str:
    digest = hashlib.sha256(json.dumps([data, collisions], sort_keys=True).encode()).digest()
    return "".join(_HASH_ALPHABET[byte % len(_HASH_ALPHABET)] for byte in digest[:10])


def by_number(revisions: Sequence[Object]) -> list[Object]:
    return sorted(revisions, key=lambda r: (int(r["revision"]), r["metadata"]["name"]))


def same_data(one: Object, other: Object) -> bool:
    return bool(plain(one) == plain(other))


def surplus(owner: Object, revisions: Sequence[Object], live: Collection[str]) -> list[Object]:
    """The oldest beyond revisionHistoryLimit; those with names in `live` are not counted."""
    limit = int(owner["spec"].get("revisionHistoryLimit", DEFAULT_LIMIT))
    old = [r for r in by_number(revisions) if r["metadata"]["name"] not in live]
    return old[: max(0, len(old) - limit)]


class History:
    """Reads and writes the revisions of one owner at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def of(self, owner: Object, cached: Sequence[Object]) -> list[Object]:
        """Its revisions, oldest first; matching orphans are adopted."""
        return by_number(await adoption.claim(self._client, owner, cached, RESOURCE))

    async def current(self, owner: Object, revisions: list[Object]) -> Object:
        """The revision of today's template: found, raised to be the newest, or made."""
        data = data_of(owner)
        newest = int(revisions[-1]["revision"]) if revisions else 0
        equal = [r for r in revisions if same_data(r.get("data") or {}, data)]
        if not equal:
            made = await self._create(owner, data, newest + 1)
            revisions.append(made)
            return made
        found = equal[-1]
        if int(found["revision"]) < newest:
            raised = await self._client.update(RESOURCE, {**found, "revision": newest + 1})
            revisions[:] = by_number([raised if r is found else r for r in revisions])
            return raised
        return found

    async def _create(self, owner: Object, data: Object, number: int) -> Object:
        """Names depend on the template; a name that another template has is passed over."""
        metadata, collisions = owner["metadata"], 0
        while True:
            digest = hash_of(data, collisions)
            revision = _revision(owner, data, number, digest)
            try:
                return await self._client.create(RESOURCE, revision)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            name = revision["metadata"]["name"]
            found = await self._client.get(RESOURCE, name, metadata["namespace"])
            controller = meta.controller_of(found) or {}
            ours = controller.get("uid") == metadata["uid"]
            if ours and same_data(found.get("data") or {}, data):
                return found
            collisions += 1

    async def truncate(
        self, owner: Object, revisions: Sequence[Object], live: Collection[str]
    ) -> None:
        for revision in surplus(owner, revisions, live):
            name, namespace = revision["metadata"]["name"], meta.namespace(owner)
            try:
                await self._client.delete(RESOURCE, name, namespace)
            except ApiError as error:
                if error.code != 404:
                    raise


def _revision(owner: Object, data: Object, number: int, digest: str) -> Object:
    labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    metadata = {
        "name": f"{owner['metadata']['name'][:223]}-{digest}",
        "namespace": owner["metadata"]["namespace"],
        "labels": {**labels, HASH: digest},
        "annotations": dict(owner["metadata"].get("annotations") or {}),
        "ownerReferences": [meta.owner_reference(owner)],
    }
    head = {"apiVersion": "apps/v1", "kind": "ControllerRevision"}
    return {**head, "metadata": metadata, "data": data, "revision": number}
