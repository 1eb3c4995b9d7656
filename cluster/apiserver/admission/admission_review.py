"""AdmissionReview v1: what a webhook is sent, and reading what it answers (pure)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.evaluation import request_of
from cluster.apiserver.admission.versions import Shown
from cluster.machinery import status
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest

Object = dict[str, Any]
API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"


class BadAnswer(Exception):
    """The webhook has answered something that is no answer; the message is for the user."""


@dataclass(frozen=True)
class Answer:
    """`status` is a Status, or None; `patch` the operations of a JSON patch."""

    allowed: bool
    status: Object | None = None
    patch: list[Object] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def request(review: Review, shown: Shown, uid: str) -> Object:
    """The review as a webhook that asks for this form is sent it."""
    asked = {
        "uid": uid,
        **request_of(review, shown.form),
        "object": shown.new,
        "oldObject": shown.old,
    }
    return {"kind": KIND, "apiVersion": API_VERSION, "request": asked}


def read(answer: Mapping[str, Any], uid: str, *, may_patch: bool) -> Answer:
    """Raises BadAnswer."""
    kind = (answer.get("apiVersion"), answer.get("kind"))
    if kind != (API_VERSION, KIND):
        raise BadAnswer(
            f"expected webhook response of admission.k8s.io/v1, Kind={KIND}, got "
            f"{kind[0] or ''}, Kind={kind[1] or ''}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("webhook response was absent")
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    patch = _patch(response) if may_patch and response.get("patch") else []
    return Answer(
        response.get("allowed") is True,
        response.get("status"),
        patch,
        tuple(str(each) for each in response.get("warnings") or ()),
        response.get("auditAnnotations") or {},
    )


def _patch(response: Mapping[str, Any]) -> list[Object]:
    type_ = response.get("patchType")
    if not type_:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if type_ != "JSONPatch":
        raise BadAnswer(f'webhook returned invalid response.patchType of "{type_}"')
    try:
        patch = json_codec.decode_any(base64.b64decode(response["patch"], validate=True))
    except (binascii.Error, ValueError, BadRequest) as error:
        raise BadAnswer(f"webhook returned an unreadable patch: {error}") from error
    if not isinstance(patch, list):
        raise BadAnswer("webhook returned a patch that is no list of operations")
    return patch


def refusal(webhook: str, given: Object | None) -> status.ApiError:
    """The webhook's own status, with its name, and a code and reason that are refusals."""
    found = dict(given or {})
    code = found.get("code") or 0
    by = f'admission webhook "{webhook}" denied the request'
    text = found.get("message") or found.get("reason")
    found |= {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    found["code"] = code if isinstance(code, int) and 400 <= code <= 599 else 400
    found["message"] = f"{by}: {text}" if text else f"{by} without explanation"
    return status.ApiError(found)
