"""What passes between the API server and a conversion webhook: ConversionReview (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]

GROUP = "apiextensions.k8s.io"
_MAY_CHANGE = ("labels", "annotations")


class ConversionError(Exception):
    """The webhook's answer cannot be used; the message says why."""


def review(
    objects: Sequence[Object], api_version: str, uid: str, versions: Sequence[str]
) -> Object:
    """The request, in the first version of ConversionReview that both sides know."""
    known = next((v for v in versions if v in ("v1", "v1beta1")), "v1")
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": list(objects)}
    return {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{known}", "request": request}


def converted(answer: Object, asked: Object) -> list[Object]:
    """The objects of an answer. Raises ConversionError if they are not what was asked for."""
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ConversionError("no response provided")
    request = asked["request"]
    if asked["apiVersion"] != answer.get("apiVersion"):
        raise ConversionError(
            f"expected ConversionReview of {asked['apiVersion']}, got {answer.get('apiVersion')}"
        )
    if response.get("uid") != request["uid"]:
        raise ConversionError(f"expected response.uid={request['uid']!r}, "
                              f"got {response.get('uid')!r}")  # fmt: skip
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise ConversionError(str(result.get("message") or "the webhook gave no reason"))
    objects = response.get("convertedObjects") or []
    if len(objects) != len(request["objects"]):
        raise ConversionError(
            f"webhook returned {len(objects)} objects, expected {len(request['objects'])}"
        )
    wanted = request["desiredAPIVersion"]
    pairs = enumerate(zip(objects, request["objects"], strict=True))
    return [_checked(new, old, wanted, at) for at, (new, old) in pairs]


def _checked(new: Any, old: Object, api_version: str, at: int) -> Object:
    """Labels and annotations are the webhook's; all other metadata stays as it was."""
    place = f"returned invalid converted object at index {at}"
    if not isinstance(new, dict):
        raise ConversionError(f"{place}: not an object")
    if new.get("apiVersion") != api_version:
        raise ConversionError(f"{place}: invalid groupVersion (expected {api_version}, "
                              f"received {new.get('apiVersion')})")  # fmt: skip
    if new.get("kind") != old["kind"]:
        raise ConversionError(f"{place}: invalid kind (expected {old['kind']}, "
                              f"received {new.get('kind')})")  # fmt: skip
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        raise ConversionError(f"{place}: invalid metadata of type {type(metadata).__name__}")
    for name in ("name", "namespace", "uid"):
        if metadata.get(name) != old["metadata"].get(name):
            raise ConversionError(f"{place}: must have the same {name}: {metadata.get(name)!r} != "
                                  f"{old['metadata'].get(name)!r}")  # fmt: skip
    kept = {k: v for k, v in old["metadata"].items() if k not in _MAY_CHANGE}
    own = {k: metadata[k] for k in _MAY_CHANGE if metadata.get(k)}
    return {**new, "metadata": kept | own}
