"""Certificate requests: nodes' own are approved, approved ones are signed, old ones cleaned up."""

from __future__ import annotations

import base64
import copy
import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from cryptography import x509

from cluster.controllers import signing_rules as rules
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import meta
from cluster.machinery.status import ApiError
from cluster.pki import Authority, KeyPair

Object = dict[str, Any]

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
REVIEWS = "subjectaccessreviews.authorization.k8s.io"
MAX_S = 365 * 24 * 3600
DECIDED_KEPT_S, PENDING_KEPT_S = 3600.0, 24 * 3600.0
RECOGNISED = (
    ("selfnodeclient", "self kubelet client certificate"),
    ("nodeclient", "kubelet client certificate"),
)


class CertificateApprover(Controller):
    """Approves kubelets' client certificates, where the requester may ask for them, and those of
    their servers, where the names are the Node's own (upstream leaves that to the cloud)."""

    name = "certificatesigningrequest-approving"
    account = "certificate-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(REQUESTS), Watch("nodes", self._of_node)]

    def _of_node(self, node: Object) -> Iterable[str]:
        """Requests may have come before the node has told its addresses."""
        user = f"{rules.NODE_PREFIX}{node['metadata']['name']}"
        for found in self.informers.of(REQUESTS).list():
            spec = found["spec"]
            waiting = spec["signerName"] == rules.KUBELET_SERVING and not found.get("status")
            if waiting and spec.get("username") == user:
                yield meta.key(found)

    async def reconcile(self, key: str) -> Result | None:
        found = self.informers.of(REQUESTS).get(key)
        if found is None or any(rules.decided(found, t) for t in ("Approved", "Denied")):
            return None
        if (found.get("status") or {}).get("certificate"):
            return None
        if found["spec"]["signerName"] == rules.KUBELET_SERVING:
            node = self.informers.of("nodes").get(rules.node_of(found))
            if node is not None and rules.is_node_server(found, node):
                await self._approve(found, "Auto approving the names of the Node itself.")
            return None
        if not rules.is_node_client(found):
            return None
        own = rules.common_name(rules.request_of(found)) == found["spec"].get("username")
        for subresource, what in RECOGNISED if own else RECOGNISED[1:]:
            if await self._may(found, subresource):
                await self._approve(found, f"Auto approving {what} after SubjectAccessReview.")
                return None
        return None

    async def _may(self, request: Object, subresource: str) -> bool:
        spec = request["spec"]
        attributes = {
            "group": "certificates.k8s.io",
            "version": "*",
            "resource": "certificatesigningrequests",
            "subresource": subresource,
            "verb": "create",
        }
        user = {part: spec[part] for part in ("groups", "uid", "extra") if spec.get(part)}
        asked = {"user": spec.get("username"), "resourceAttributes": attributes, **user}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        answer = await self.client.create(REVIEWS, {**review, "spec": asked})
        return bool((answer.get("status") or {}).get("allowed"))

    async def _approve(self, request: Object, message: str) -> None:
        changed = copy.deepcopy(request)
        _add_condition(changed, "Approved", "AutoApproved", message, self.clock.wall())
        await self.client.update(REQUESTS, changed, subresource="approval")


class CertificateSigner(Controller):
    """Config: `signing`, the files (certificate, key) of the cluster's authority."""

    name = "certificatesigningrequest-signing"
    account = "certificate-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        files = context.config["signing"]
        pair = (open(files[part], "rb").read() for part in ("certificate", "key"))  # noqa: SIM115
        self._authority = Authority(KeyPair(*pair))

    def watches(self) -> Sequence[Watch]:
        return [Watch(REQUESTS)]

    async def reconcile(self, key: str) -> Result | None:
        found = self.informers.of(REQUESTS).get(key)
        if found is None or found["spec"]["signerName"] not in rules.SIGNERS:
            return None
        ready = rules.decided(found, "Approved") and not rules.decided(found, "Denied")
        done = rules.decided(found, "Failed") or (found.get("status") or {}).get("certificate")
        if not ready or done:
            return None
        changed = copy.deepcopy(found)
        why = rules.problem(found)
        if why:
            now_s = self.clock.wall()
            _add_condition(changed, "Failed", "SignerValidationFailure", why, now_s)
        else:
            changed["status"]["certificate"] = base64.b64encode(self._signed(found)).decode()
        await self.client.update(REQUESTS, changed, subresource="status")
        return None

    def _signed(self, found: Object) -> bytes:
        spec = found["spec"]
        seconds = min(int(spec.get("expirationSeconds") or MAX_S), MAX_S)
        life = datetime.timedelta(seconds=seconds)
        return self._authority.sign(rules.request_of(found), spec.get("usages") or (), life)


class CertificateCleaner(Controller):
    """Deletes requests that were decided an hour ago, and those that nobody decides in a day."""

    name = "certificatesigningrequest-cleaner"
    account = "certificate-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(REQUESTS)]

    async def reconcile(self, key: str) -> Result | None:
        found = self.informers.of(REQUESTS).get(key)
        if found is None:
            return None
        left_s = ends_s(found) - self.clock.wall()
        if left_s > 0:
            return Result(after_s=left_s)
        try:
            await self.client.delete(REQUESTS, key, uid=found["metadata"]["uid"])
        except ApiError as error:
            if error.code not in (404, 409):
                raise
        return None


def ends_s(request: Object) -> float:
    """When a request may be deleted, in seconds of the epoch (pure)."""
    status = request.get("status") or {}
    made_s = meta.parse_time(request["metadata"]["creationTimestamp"])
    times = [
        _changed_s(condition, made_s) + DECIDED_KEPT_S
        for condition in status.get("conditions") or ()
        if condition.get("type") in ("Approved", "Denied", "Failed")
    ]
    if not status.get("certificate"):
        return min([*times, made_s + PENDING_KEPT_S])
    (certificate, *_) = x509.load_pem_x509_certificates(base64.b64decode(status["certificate"]))
    return min([*times, certificate.not_valid_after_utc.timestamp()])


def _changed_s(condition: Object, made_s: float) -> float:
    at = condition.get("lastUpdateTime") or condition.get("lastTransitionTime")
    return meta.parse_time(at) if at else made_s


def _add_condition(obj: Object, type_: str, reason: str, message: str, now_s: float) -> None:
    now = meta.format_time(now_s)
    condition = {"type": type_, "status": "True", "reason": reason, "message": message}
    condition |= {"lastUpdateTime": now, "lastTransitionTime": now}
    obj.setdefault("status", {}).setdefault("conditions", []).append(condition)
