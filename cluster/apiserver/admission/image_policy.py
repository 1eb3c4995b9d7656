"""ImagePolicyWebhook: a server outside says which images may run (imagepolicy.k8s.io/v1alpha1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from actors.seams import Seams
from cluster.apiserver.admission.chain import Review
from cluster.apiserver.remote import KubeconfigWebhook, RemoteError
from cluster.machinery import status
from cluster.machinery.codec import json_codec

Object = dict[str, Any]
MARK = ".image-policy.k8s.io/"
FAILED_OPEN = "image-policy.k8s.io/failed-open"
CACHED = 1024
PARTS = ("initContainers", "containers", "ephemeralContainers")


class ImagePolicy:
    """An admission plugin of the validating phase. Configuration: `imagePolicy` with
    kubeConfigFile, allowTTL and denyTTL (s, how long answers are remembered)
    and defaultAllow (what holds without an answer)."""

    def __init__(self, seams: Seams, config: Mapping[str, Any]) -> None:
        """Raises ValueError without a kubeConfigFile, OSError if it cannot be read."""
        found = config.get("imagePolicy") or {}
        if not found.get("kubeConfigFile"):
            raise ValueError("ImagePolicyWebhook: the configuration has no kubeConfigFile")
        self._clock = seams.clock
        self._webhook = KubeconfigWebhook(seams, str(found["kubeConfigFile"]))
        self._ttl_s = {True: _ttl_s(found, "allowTTL"), False: _ttl_s(found, "denyTTL")}
        self._open = bool(found.get("defaultAllow"))
        self._known: OrderedDict[bytes, tuple[float, Object]] = OrderedDict()
        """Answers by question, and until when they hold."""

    async def __call__(self, review: Review) -> None:
        pod = _asking(review)
        if pod is None:
            return
        try:
            answer = await self._ask(question(pod, review.namespace))
        except RemoteError as error:
            if not self._open:
                raise status.forbidden(review.resource, review.name, str(error)) from error
            review.annotations[FAILED_OPEN] = "true"
            return
        if not answer.get("allowed"):
            why = answer.get("reason")
            text = "image policy webhook backend denied one or more images"
            text = f"{text}: {why}" if why else text
            raise status.forbidden(review.resource, review.name, text)

    async def _ask(self, asked: Object) -> Object:
        """The `status` that comes back. Raises RemoteError."""
        key, now_s = json_codec.encode(asked), self._clock.now()
        until_s, answer = self._known.get(key, (0.0, {}))
        if now_s < until_s:
            return answer
        answer = (await self._webhook.post(asked)).get("status") or {}
        self._known.pop(key, None)
        self._known[key] = (now_s + self._ttl_s[bool(answer.get("allowed"))], answer)
        if len(self._known) > CACHED:
            self._known.popitem(last=False)
        return answer


def _ttl_s(found: Mapping[str, Any], name: str) -> float:
    return float(found.get(name) or 0)


def _asking(review: Review) -> Object | None:
    """The pod, if it may have images that nobody has judged yet."""
    if (review.resource.group, review.resource.plural) != ("", "pods"):
        return None
    return review.new if review.subresource in ("", "ephemeralcontainers") else None


def question(pod: Object, namespace: str) -> Object:
    """An ImageReview."""
    containers = [each for part in PARTS for each in pod["spec"].get(part) or ()]
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "spec": {
            "containers": [{"image": each.get("image", "")} for each in containers],
            "annotations": {k: v for k, v in annotations.items() if MARK in k},
            "namespace": namespace,
        },
    }
