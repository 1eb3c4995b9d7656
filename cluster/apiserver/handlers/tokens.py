"""POST serviceaccounts/NAME/token: a token for a service account, perhaps bound to an object."""

from __future__ import annotations

from typing import Any

from cluster.apiserver import bodies, encodings
from cluster.apiserver.authn.service_accounts import Binding
from cluster.apiserver.context import Call
from cluster.apiserver.handlers.writing import place
from cluster.apiserver.http.messages import Response
from cluster.machinery import meta, status
from cluster.machinery.status import Cause

Object = dict[str, Any]

MIN_S, MAX_S, DEFAULT_S = 600, 1 << 32, 3600
BOUND = {("v1", "Pod"): "v1/pods", ("v1", "Secret"): "v1/secrets", ("v1", "Node"): "v1/nodes"}


async def request(call: Call) -> Response:
    """201 with the TokenRequest, its status filled in."""
    asked = bodies.read(call.request, "authentication.k8s.io/v1", "TokenRequest")
    asked.setdefault("metadata", {})
    place(call, asked)
    name = call.target.name
    if asked["metadata"].setdefault("name", name) != name:
        raise status.bad_request("the name of the object does not match the name on the URL")
    account = await call.context.lookup.newest("v1/serviceaccounts", call.namespace, name)
    if account is None:
        raise status.not_found("serviceaccounts", name)
    issuer = call.context.issuer
    spec: Object = asked.setdefault("spec", {})
    spec["expirationSeconds"] = spec.get("expirationSeconds") or DEFAULT_S
    _refuse_invalid(name, spec)
    await call.admit("create", asked, None)
    await call.judge("create", asked, None)
    spec["audiences"] = spec.get("audiences") or list(issuer.audiences)
    binding, node = await _binding(call, account, spec.get("boundObjectRef"))
    audiences, seconds = spec["audiences"], spec["expirationSeconds"]
    token, expires_s = issuer.issue(account, audiences, seconds, binding, node)
    asked["status"] = {"token": token, "expirationTimestamp": meta.format_time(expires_s)}
    asked["metadata"]["creationTimestamp"] = meta.format_time(call.context.seams.clock.wall())
    return encodings.reply(call.request, 201, asked)


def _refuse_invalid(name: str, spec: Object) -> None:
    seconds = spec["expirationSeconds"]
    text = ""
    if seconds < MIN_S:
        text = "may not specify a duration less than 10 minutes"
    elif seconds > MAX_S:
        text = "may not specify a duration larger than 2^32 seconds"
    if text:
        message = f"Invalid value: {seconds}: {text}"
        cause = Cause("FieldValueInvalid", message, "spec.expirationSeconds")
        raise status.invalid("TokenRequest.authentication.k8s.io", name, [cause])


async def _binding(
    call: Call, account: Object, ref: Object | None
) -> tuple[Binding | None, Binding | None]:
    """(what the token is bound to, the node of the pod that it is bound to)."""
    if not ref:
        return None, None
    kind, name = str(ref.get("kind")), str(ref.get("name"))
    resource = BOUND.get((str(ref.get("apiVersion")), kind))
    if resource is None:
        text = f"cannot bind token for serviceaccount {account['metadata']['name']!r}"
        raise status.bad_request(f"{text} to type {kind!r}")
    namespace = "" if kind == "Node" else call.namespace
    found = await call.context.lookup.newest(resource, namespace, name)
    if found is None:
        raise status.not_found(resource.removeprefix("v1/"), name)
    uid = found["metadata"]["uid"]
    if ref.get("uid") and ref["uid"] != uid:
        text = (
            f"the UID in the bound object reference ({ref['uid']}) does not match the UID in "
            "record. The object might have been deleted and then recreated"
        )
        raise status.conflict(resource.removeprefix("v1/"), name, text)
    node = await _node_of(call, account, found) if kind == "Pod" else None
    return Binding(kind, name, uid), node


async def _node_of(call: Call, account: Object, pod: Object) -> Binding | None:
    """The pod's node; 403 for a pod of another service account."""
    spec = pod.get("spec") or {}
    own, wanted = account["metadata"]["name"], spec.get("serviceAccountName")
    if wanted != own:
        name = pod["metadata"]["name"]
        text = (
            f'cannot bind token for serviceaccount "{own}" to pod running with different '
            "serviceaccount name."
        )
        raise status.forbidden("pods", name, text)
    if not spec.get("nodeName"):
        return None
    node = await call.context.lookup.find("v1/nodes", "", spec["nodeName"])
    return Binding("Node", spec["nodeName"], node["metadata"]["uid"]) if node else None
