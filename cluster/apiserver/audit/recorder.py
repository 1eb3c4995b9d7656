"""Audit events: one for each stage of a request that the policy lets through."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from actors.seams import Seams
from cluster.apiserver import bodies
from cluster.apiserver.audit import policy as policies
from cluster.apiserver.audit.backends import Backend, Sent
from cluster.apiserver.audit.policy import COMPLETE, RECEIVED, STARTED, Policy, Verdict
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz.attributes import Attributes, Decision
from cluster.apiserver.http.messages import Headers, Request, Response, Stream, TakeOver
from cluster.apiserver.negotiation import JSON, PROTOBUF, body_type
from cluster.machinery import meta
from cluster.machinery.codec import json_codec, protobuf
from cluster.machinery.errors import MachineryError
from cluster.machinery.status import ApiError
from cluster.streaming.link import Link

Object = dict[str, Any]
HEADER = "audit-id"
MAX_ID_CHARS = 64


class Auditor:
    """Begins a record for each request; None for those that are not noted."""

    def __init__(self, policy: Policy, log: Backend, seams: Seams) -> None:
        self._policy, self.log, self._seams = policy, log, seams

    def begin(self, request: Request, asked: Attributes) -> Record | None:
        verdict = self._policy.of(asked)
        if verdict.level == policies.NONE:
            return None
        given = request.headers.get(HEADER, "")[:MAX_ID_CHARS]
        id_ = given or str(uuid.UUID(bytes=self._seams.randomness.randbytes(16), version=4))
        record = Record(self.log, self._seams, verdict, request, asked, id_)
        record.stage(RECEIVED)
        return record


class Record:
    """One request. `annotations` are added to what follows."""

    def __init__(
        self,
        log: Backend,
        seams: Seams,
        verdict: Verdict,
        request: Request,
        asked: Attributes,
        id_: str,
    ) -> None:
        self.id = id_
        self.annotations: dict[str, str] = {}
        self._log, self._seams, self._verdict = log, seams, verdict
        self._request = request
        self._base = _base(request, asked, verdict, id_, seams.clock.wall())
        self._started = self._switched = False
        self._take: TakeOver | None = None
        self._sent: list[Sent] = []

    def decided(self, decision: Decision) -> None:
        outcome = "allow" if decision.allowed else "forbid"
        self.annotations["authorization.k8s.io/decision"] = outcome
        self.annotations["authorization.k8s.io/reason"] = decision.reason

    def acting_as(self, user: User) -> None:
        self._base["impersonatedUser"] = user.to_info()

    def open_stream(self, status: int, headers: Headers) -> Stream:
        """In place of the request's own: an answer that goes on has a stage of its own."""
        self._started = True
        self.stage(STARTED, responseStatus={"metadata": {}, "code": status})
        return self._open(status, headers)

    def take_over(self, headers: Headers) -> Link:
        """In place of the request's own: another protocol begins."""
        assert self._take is not None
        self._switched = True
        self.stage(STARTED, responseStatus={"metadata": {}, "code": 101})
        return self._take(headers)

    def watch_stream(self) -> None:
        """Note when the answer begins to stream."""
        self._open, self._take = self._request.open_stream, self._request.take_over
        self._request.open_stream = self.open_stream
        if self._take is not None:
            self._request.take_over = self.take_over

    def complete(self, response: Response | None) -> None:
        code = 200 if response is None else response.status
        code = 101 if self._switched else code
        more: Object = {"responseStatus": {"metadata": {}, "code": code}}
        answer = _decoded(response)
        if response is not None and code >= 400 and answer is not None:
            kept = ("status", "message", "reason", "details", "code")
            more["responseStatus"] |= {key: answer[key] for key in kept if key in answer}
        if self._verdict.at_least(policies.REQUEST):
            sent = self._request_object()
            if sent is not None:
                more["requestObject"] = self._trimmed(sent)
        if self._verdict.at_least(policies.REQUEST_RESPONSE) and answer is not None:
            more["responseObject"] = self._trimmed(answer)
        self.stage(COMPLETE, **more)

    def stage(self, stage: str, **more: Any) -> None:
        if stage in self._verdict.omitted:
            return
        event = {**self._base, "stage": stage, **more}
        event["stageTimestamp"] = meta.format_micro_time(self._seams.clock.wall())
        if self.annotations:
            event["annotations"] = dict(self.annotations)
        if (sent := self._log.put(event)) is not None:
            self._sent.append(sent)

    async def settled(self) -> None:
        """Wait for what must be noted before the request goes on. Raises ApiError if it must not
        go on."""
        while self._sent:
            await self._sent.pop()

    def _request_object(self) -> Object | None:
        if not self._request.body:
            return None
        try:
            media_type = body_type(self._request.headers.get("content-type", ""))
            return bodies.decode(self._request.body, media_type, "object")
        except (ApiError, MachineryError):
            return None  # what cannot be read cannot be noted

    def _trimmed(self, obj: Object) -> Object:
        if not self._verdict.omit_managed_fields or not isinstance(obj.get("metadata"), dict):
            return obj
        metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
        return {**obj, "metadata": metadata}


def _decoded(response: Response | None) -> Object | None:
    if response is None or not response.content_type.startswith((JSON, PROTOBUF)):
        return None
    try:
        if response.content_type.startswith(PROTOBUF):
            return protobuf.decode(response.body)
        return json_codec.decode(response.whole)
    except MachineryError:
        return None


def _base(request: Request, asked: Attributes, verdict: Verdict, id_: str, now_s: float) -> Object:
    query = urlencode(request.query, doseq=True)
    event: Object = {
        "kind": "Event",
        "apiVersion": policies.API_VERSION,
        "level": verdict.level,
        "auditID": id_,
        "requestURI": f"{request.path}?{query}" if query else request.path,
        "verb": asked.verb,
        "user": asked.user.to_info(),
        "userAgent": request.headers.get("user-agent", ""),
        "requestReceivedTimestamp": meta.format_micro_time(now_s),
    }
    if request.peer_address:
        event["sourceIPs"] = [request.peer_address]
    if asked.resource:
        parts = {
            "resource": asked.resource,
            "namespace": asked.namespace,
            "name": asked.name,
            "apiGroup": asked.group,
            "apiVersion": asked.version,
            "subresource": asked.subresource,
        }
        event["objectRef"] = {key: value for key, value in parts.items() if value}
    return event
