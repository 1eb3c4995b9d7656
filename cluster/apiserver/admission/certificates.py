"""Who may approve and sign certificate requests, and what may not be asked for at all.

Upstream's CertificateApproval, CertificateSigning and CertificateSubjectRestriction.
"""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from cluster.apiserver.admission.chain import Plugin, Review
from cluster.apiserver.authz.attributes import Attributes, Authorizer
from cluster.machinery import status

Object = dict[str, Any]

GROUP, PLURAL = "certificates.k8s.io", "certificatesigningrequests"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"
DECISIONS = ("Approved", "Denied")


def _about(review: Review, subresource: str) -> tuple[Object, Object] | None:
    """(new, old) of an update of a request's part."""
    resource = (review.resource.group, review.resource.plural, review.subresource)
    if resource != (GROUP, PLURAL, subresource) or review.new is None or review.old is None:
        return None
    return review.new, review.old


def approval(authorizer: Authorizer) -> Plugin:
    """`authorizer` is asked for `approve` on the signer."""

    async def admit(review: Review) -> None:
        found = _about(review, "approval")
        if found is not None and _decisions(found[0]) != _decisions(found[1]):
            await _require(review, authorizer, "approve", found[1])

    return admit


def signing(authorizer: Authorizer) -> Plugin:
    """`authorizer` is asked for `sign` on the signer."""

    async def admit(review: Review) -> None:
        found = _about(review, "status")
        if found is not None and _signed(found[0]) != _signed(found[1]):
            await _require(review, authorizer, "sign", found[1])

    return admit


async def subject_restriction(review: Review) -> None:
    """Nobody becomes an administrator by a request that somebody waves through."""
    new = review.creates(PLURAL, GROUP)
    if new is not None:
        _refuse_masters(review, new)


def _refuse_masters(review: Review, new: Object) -> None:
    spec = new.get("spec") or {}
    if spec.get("signerName") != CLIENT_SIGNER:
        return
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or ""))
    except ValueError:
        return  # validation says so
    groups = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if any(group.value == MASTERS for group in groups):
        text = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
        raise status.forbidden(review.resource, review.name, text)


async def _require(review: Review, authorizer: Authorizer, verb: str, old: Object) -> None:
    """The verb on the signer, or on all signers of its domain."""
    signer = str(old["spec"].get("signerName"))
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        asked = Attributes(review.user, verb, "", GROUP, "v1", "signers", "", "", name)
        if (await authorizer.decide(asked)).allowed:
            return
    text = f'user not permitted to {verb} requests with signerName "{signer}"'
    raise status.forbidden(review.resource, review.name, text)


def _decisions(obj: Object) -> list[Object]:
    return [c for c in _conditions(obj) if c.get("type") in DECISIONS]


def _signed(obj: Object) -> tuple[Any, list[Object]]:
    failed = [c for c in _conditions(obj) if c.get("type") == "Failed"]
    return (obj.get("status") or {}).get("certificate"), failed


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []
