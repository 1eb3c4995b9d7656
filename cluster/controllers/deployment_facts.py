"""What a Deployment and its ReplicaSets say: revisions, templates, sizes. Pure."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.machinery import intstr, meta

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
}
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def wanted(obj: Object) -> int:
    """`spec.replicas` of a Deployment or ReplicaSet."""
    return int(obj["spec"].get("replicas", 1))


def counted(obj: Object, field: str) -> int:
    """A counter of the status; 0 where it is left out."""
    return int((obj.get("status") or {}).get(field) or 0)


def annotation(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(name, ""))


def revision(obj: Object) -> int:
    text = annotation(obj, REVISION)
    return int(text) if text.isdigit() else 0


def is_rolling(deployment: Object) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") != "Recreate"


def surge_and_unavailable(deployment: Object) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (down); not both 0 (ResolveFenceposts)."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = wanted(deployment)
    surge = intstr.resolve(rolling.get("maxSurge", "25%"), total, True)
    unavailable = intstr.resolve(rolling.get("maxUnavailable", "25%"), total, False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total)


def template_without_hash(owner: Object) -> Object:
    template: Object = copy.deepcopy(owner["spec"].get("template") or {})
    metadata = template.get("metadata") or {}
    (metadata.get("labels") or {}).pop(HASH_LABEL, None)
    return template


def same_template(one: Object, other: Object) -> bool:
    """Whether two owners of pod templates ask for the same pods, the hash label aside."""
    return bool(plain(template_without_hash(one)) == plain(template_without_hash(other)))


def plain(value: Any) -> Any:
    """Without nulls and empty maps or lists, which mean the same as nothing at all."""
    if isinstance(value, Mapping):
        items = {key: plain(item) for key, item in value.items()}
        return {k: v for k, v in items.items() if v is not None and v not in ({}, [])}
    return [plain(item) for item in value] if isinstance(value, list) else value


def template_hash(deployment: Object) -> str:
    """Ten letters that depend on the template and the collision count only."""
    template = template_without_hash(deployment)
    collisions = counted(deployment, "collisionCount")
    text = json.dumps([template, collisions], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(_HASH_ALPHABET[byte % len(_HASH_ALPHABET)] for byte in digest[:10])


def by_age(sets: Iterable[Object]) -> list[Object]:
    """Oldest first; names decide between equals."""
    return sorted(sets, key=lambda s: (s["metadata"]["creationTimestamp"], s["metadata"]["name"]))


def find_new(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The ReplicaSet of the current template; the oldest, should there be several."""
    return next((s for s in by_age(sets) if same_template(deployment, s)), None)


def find_old(new: Object | None, sets: Sequence[Object]) -> list[Object]:
    uid = new["metadata"]["uid"] if new else None
    return [s for s in sets if s["metadata"]["uid"] != uid]


def active(sets: Iterable[Object]) -> list[Object]:
    return [s for s in sets if wanted(s) > 0]


def copied_annotations(deployment: Object, old: Mapping[str, str]) -> dict[str, str]:
    """The Deployment's own annotations go to its new ReplicaSet (change-cause above all)."""
    given = deployment["metadata"].get("annotations") or {}
    return {**old, **{k: v for k, v in given.items() if k not in _OWN_ANNOTATIONS}}


def with_revision(annotations: Mapping[str, str], number: int) -> dict[str, str]:
    """Raise the revision; the one it replaces joins the history."""
    result = dict(annotations)
    old = result.get(REVISION, "")
    if old.isdigit() and int(old) >= number:
        return result
    if old:
        history = result.get(REVISION_HISTORY, "")
        result[REVISION_HISTORY] = f"{history},{old}" if history else old
    return result | {REVISION: str(number)}


def size_annotations(deployment: Object) -> dict[str, str]:
    """What the ReplicaSet was scaled for, to scale in proportion later."""
    surge, _ = surge_and_unavailable(deployment)
    return {DESIRED: str(wanted(deployment)), MAXIMUM: str(wanted(deployment) + surge)}


def new_replica_set(deployment: Object, replicas: int, number: int) -> Object:
    """The ReplicaSet for the current template."""
    digest = template_hash(deployment)
    metadata = deployment["metadata"]
    spec = deployment["spec"]
    template = template_without_hash(deployment)
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = digest
    selector = copy.deepcopy(spec.get("selector") or {})
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    annotations = with_revision(copied_annotations(deployment, {}), number)
    own = {
        "replicas": replicas,
        "minReadySeconds": spec.get("minReadySeconds"),
        "selector": selector,
        "template": template,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": annotations | size_annotations(deployment),
            "ownerReferences": [meta.owner_reference(deployment)],
        },
        "spec": {name: value for name, value in own.items() if value is not None},
    }
