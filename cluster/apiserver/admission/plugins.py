"""The plugins, in upstream's order (AllOrderedPlugins), as far as they exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cluster.apiserver.admission import node_taints, priorities, service_accounts
from cluster.apiserver.admission.chain import Plugin, Review
from cluster.apiserver.admission.priorities import FindClass
from cluster.apiserver.admission.service_accounts import FindServiceAccount
from cluster.machinery import status

PROTECTED_NAMESPACES = ("default", "kube-system", "kube-public")
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


async def no_restriction(review: Review) -> None:
    """In place of plugins that a chain does without."""


def default_plugins(
    find_account: FindServiceAccount,
    find_class: FindClass,
    toleration_s: int,
    suffix: Callable[[], str],
    node_restriction: Plugin = no_restriction,
) -> Mapping[str, Plugin]:
    """Those that need little of the server, by their names, in their order."""
    return {
        "NamespaceLifecycle": namespace_lifecycle,
        "ServiceAccount": service_accounts.plugin(find_account, suffix),
        "NodeRestriction": node_restriction,
        "TaintNodesByCondition": node_taints.not_ready,
        "Priority": priorities.plugin(find_class),
        "DefaultTolerationSeconds": default_toleration_seconds(toleration_s),
    }


async def namespace_lifecycle(review: Review) -> None:
    """The namespaces that everything needs cannot be deleted."""
    if review.operation != "delete" or review.resource.plural != "namespaces":
        return
    if review.name in PROTECTED_NAMESPACES:
        text = "this namespace may not be deleted"
        raise status.forbidden(review.resource, review.name, text)


def _new_pod(review: Review) -> dict[str, Any] | None:
    if review.operation != "create" or review.subresource or review.resource.plural != "pods":
        return None
    return review.new


def default_toleration_seconds(toleration_s: int) -> Plugin:
    """Pods stay on a node that stopped answering for this long, unless they say otherwise."""

    async def admit(review: Review) -> None:
        pod = _new_pod(review)
        if pod is None:
            return
        tolerations = pod["spec"].setdefault("tolerations", [])
        for key in (NOT_READY, UNREACHABLE):
            if not any(_tolerates(t, key) for t in tolerations):
                tolerations.append(
                    {
                        "key": key,
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": toleration_s,
                    }
                )

    return admit


def _tolerates(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in (
        "",
        "NoExecute",
    )
