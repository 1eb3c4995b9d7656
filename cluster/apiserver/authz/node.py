"""The Node authorizer: a kubelet may do its work, on what its own pods refer to.

As upstream's (plugin/pkg/auth/authorizer/node), with selectors: it lists pods of its own node
only, and reads no Node but its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cluster.apiserver.authn.user import User
from cluster.apiserver.authz import bootstrap, rules
from cluster.apiserver.authz.attributes import (
    ALLOW,
    NO_OPINION,
    NONE,
    Attributes,
    Decision,
)
from cluster.apiserver.authz.node_graph import NodeGraph, Reference, secret_refs
from cluster.apiserver.lookup import Lookup

PREFIX, GROUP = "system:node:", "system:nodes"
LEASE_NAMESPACE = "kube-node-lease"
READ = frozenset({"get", "list", "watch"})
YES = Decision(ALLOW)
Catch = Callable[[], Awaitable[None]]


def node_of(user: User) -> str:
    """The node that a user is; "" for everybody else."""
    if not user.name.startswith(PREFIX) or GROUP not in user.groups:
        return ""
    return user.name.removeprefix(PREFIX)


class NodeAuthorizer:
    """`fresh` waits until the caches hold all that was written: it is awaited before a refusal,
    because a kubelet may have heard of its pod from another server.
    """

    def __init__(self, graph: NodeGraph, lookup: Lookup, fresh: Catch) -> None:
        self._graph, self._lookup, self._fresh = graph, lookup, fresh
        self._rules = tuple(
            rules.parse(rule)
            for role in bootstrap.policy()
            if role["kind"] == "ClusterRole" and role["metadata"]["name"] == "system:node"
            for rule in role["rules"]
        )

    async def decide(self, asked: Attributes) -> Decision:
        node = node_of(asked.user)
        if not node:
            return NONE
        if not asked.resource:
            return NONE
        problem = await self._problem(node, asked)
        if problem:
            return Decision(NO_OPINION, problem)
        return YES if self._in_rules(asked) else NONE

    def _in_rules(self, asked: Attributes) -> bool:
        what = (asked.verb, asked.group, asked.resource, asked.subresource)
        return any(rule.permits(*what) for rule in self._rules)

    async def _problem(self, node: str, asked: Attributes) -> str:
        """Why not, beyond what the rules of system:node say; "" if nothing speaks against it."""
        kind = f"{asked.group}/{asked.resource}"
        if kind in ("/secrets", "/configmaps"):
            return await self._readable(node, asked, READ)
        if kind in ("/persistentvolumeclaims", "/persistentvolumes"):
            verbs = {"get", "update", "patch"} if asked.subresource == "status" else {"get"}
            return await self._readable(node, asked, frozenset(verbs))
        if kind == "resource.k8s.io/resourceclaims":
            return await self._readable(node, asked, frozenset({"get"}))
        if kind == "/serviceaccounts":
            return await self._token(node, asked)
        if kind == "coordination.k8s.io/leases":
            return _own_lease(node, asked)
        if kind == "storage.k8s.io/csinodes":
            return _own_name(node, asked, "CSINode")
        if kind == "/nodes" and asked.verb in READ:
            return _own_name(node, asked, "Node")
        if kind == "/pods" and asked.verb in READ and not asked.subresource:
            return await self._own_pods(node, asked)
        if kind == "resource.k8s.io/resourceslices" and asked.verb not in ("create", "get"):
            own = dict(asked.fields).get("spec.nodeName") == node
            listed = asked.verb in ("list", "watch", "deletecollection")
            return "" if own or not listed else "can only list slices with a selector of itself"
        return ""

    async def _readable(self, node: str, asked: Attributes, verbs: frozenset[str]) -> str:
        if asked.verb not in verbs:
            return f"can only {'/'.join(sorted(verbs))} resources of this type"
        if not asked.name:
            return "No Object name found"
        return await self._related(node, (asked.resource, asked.namespace, asked.name))

    async def _token(self, node: str, asked: Attributes) -> str:
        if asked.subresource != "token" or asked.verb != "create":
            return "can only create tokens for individual service accounts"
        return await self._related(node, ("serviceaccounts", asked.namespace, asked.name))

    async def _own_pods(self, node: str, asked: Attributes) -> str:
        if asked.verb != "get":
            if dict(asked.fields).get("spec.nodeName") == node:
                return ""
            return "can only list/watch pods with spec.nodeName field selector"
        return await self._related(node, ("pods", asked.namespace, asked.name))

    async def _related(self, node: str, reference: Reference) -> str:
        for attempt in range(2):
            if attempt:
                await self._fresh()
            self._graph.catch_up()
            if self._reaches(node, reference):
                return ""
        return f"no relationship found between node '{node}' and this object"

    def _reaches(self, node: str, reference: Reference) -> bool:
        plural, namespace, name = reference
        if self._graph.refers(node, reference):
            return True
        if plural == "persistentvolumes":
            return self._uses_volume(node, name)
        if plural == "pods":  # one that has ended refers to nothing any more
            pod = self._lookup.cached("v1/pods", namespace, name)
            return pod is not None and pod["spec"].get("nodeName") == node
        return plural == "secrets" and self._secret_of_volume(node, namespace, name)

    def _uses_volume(self, node: str, name: str) -> bool:
        volume = self._lookup.cached("v1/persistentvolumes", "", name) or {}
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        found = "persistentvolumeclaims", claim.get("namespace", ""), claim.get("name", "")
        return self._graph.refers(node, found)

    def _secret_of_volume(self, node: str, namespace: str, name: str) -> bool:
        for _, claim_namespace, claim_name in self._graph.references(
            node, "persistentvolumeclaims"
        ):
            claim = self._lookup.cached("v1/persistentvolumeclaims", claim_namespace, claim_name)
            volume_name = ((claim or {}).get("spec") or {}).get("volumeName")
            volume = volume_name and self._lookup.cached("v1/persistentvolumes", "", volume_name)
            for where, secret in secret_refs((volume or {}).get("spec") or {}):
                if (where or claim_namespace, secret) == (namespace, name):
                    return True
        return False


def _own_lease(node: str, asked: Attributes) -> str:
    if asked.verb not in ("get", "create", "update", "patch", "delete"):
        return "can only get, create, update, patch, or delete a node lease"
    if asked.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    if asked.verb != "create" and asked.name != node:
        return "can only access node lease with the same name as the requesting node"
    return ""


def _own_name(node: str, asked: Attributes, kind: str) -> str:
    if asked.verb == "create" or asked.name == node:
        return ""
    return f"node '{node}' cannot read '{asked.name}', only its own {kind} object"
