"""Component statuses: deprecated, yet `kubectl get componentstatuses` still asks for them.

They are made up for each request: the store's members are asked how they are, in the order in which
they are configured; the components that elect a leader are judged by the lease that the leader
renews.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cluster.apiserver.authn.user import User
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import wanted
from cluster.apiserver.routing import Target
from cluster.apiserver.shapes import Shaper
from cluster.machinery import meta, resources, status
from cluster.machinery.codec import json_codec
from cluster.storage.entry import Entry
from cluster.storage.listing import Page
from raftstore.errors import StoreError
from raftstore.types import MemberStatus

Object = dict[str, Any]

RESOURCE = resources.find("v1/componentstatuses")
ELECTED = {"controller-manager": "kube-controller-manager", "scheduler": "kube-scheduler"}
STORE = "etcd"
WARNING = "v1 ComponentStatus is deprecated in v1.19+"


class ComponentStatuses:
    """`members()` are those of the store; `lease(name)` is one of kube-system."""

    resources = (RESOURCE,)

    def __init__(
        self,
        members: Callable[[], Awaitable[Sequence[MemberStatus]]],
        lease: Callable[[str], Object | None],
        now_s: Callable[[], float],
    ) -> None:
        self._members, self._lease, self._now_s = members, lease, now_s

    def has(self, target: Target) -> bool:
        return target.resource_key == "v1/componentstatuses"

    async def answer(self, request: Request, target: Target, user: User) -> Response:
        """One of them, or all."""
        if target.subresource or target.namespace:
            raise status.path_not_found()
        request.warnings.append(WARNING)
        found = await self._found()
        accepted = wanted(request.headers.get("accept", ""))
        include = request.parameter("includeObject")
        shaper = Shaper(RESOURCE, accepted, include, self._now_s())
        if target.verb == "list":
            encoded = ((name, json_codec.encode(obj)) for name, obj in found.items())
            return shaper.many(Page(0, [Entry(name, 0, data, {}, {}) for name, data in encoded]))
        if target.verb != "get":
            text = "the server does not allow this method on the requested resource"
            raise status.failure(405, "MethodNotAllowed", text, {"kind": target.plural})
        if target.name not in found:
            raise status.not_found(RESOURCE, target.name)
        return shaper.one(json_codec.encode(found[target.name]))

    async def _found(self) -> dict[str, Object]:
        problems = {name: self._problem(lease) for name, lease in ELECTED.items()}
        for number, problem in enumerate(await self._store_problems()):
            problems[f"{STORE}-{number}"] = problem
        return {name: _component(name, problem) for name, problem in sorted(problems.items())}

    async def _store_problems(self) -> list[str]:
        """Of each member: "" for a healthy one. A store that tells nothing of any counts as one."""
        try:
            return [_problem_of(member) for member in await self._members()]
        except (StoreError, TimeoutError) as error:
            return [str(error) or type(error).__name__]

    def _problem(self, name: str) -> str:
        spec = (self._lease(name) or {}).get("spec") or {}
        if not spec.get("holderIdentity") or not spec.get("renewTime"):
            return f"no {name} leads"
        silent_s = self._now_s() - meta.parse_time(spec["renewTime"])
        late = silent_s > spec.get("leaseDurationSeconds", 0)
        return f"the leader of {name} was last heard of {silent_s:.0f} s ago" if late else ""


def _problem_of(member: MemberStatus) -> str:
    if member.healthy:
        return ""
    if not member.name:
        return f"the member at {member.address} does not answer"
    return f"member {member.name} is not healthy"


def _component(name: str, problem: str) -> Object:
    condition = {"type": "Healthy", "status": "False" if problem else "True"}
    told = {"message": problem, "error": problem} if problem else {"message": "ok"}
    return {
        "apiVersion": "v1",
        "kind": RESOURCE.kind,
        "metadata": {"name": name},
        "conditions": [condition | told],
    }
