"""What the two controllers of endpoints share: which Services a change concerns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.controllers import endpoint_addresses as addresses
from cluster.controllers.framework import Context, Controller
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class ServiceController(Controller):
    """Base of the controllers whose keys are Services."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._services = self.informers.indexed("services", "namespace", _by_namespace)
        self._pods = self.informers.indexed("pods", "namespace", _by_namespace)

    def keys_of_pod(self, pod: Object) -> Iterable[str]:
        return [
            meta.key(service)
            for service in self._services.by_index("namespace", meta.namespace(pod))
            if addresses.has_own_endpoints(service) and addresses.selects(service, pod)
        ]

    def members(self, service: Object) -> list[Object]:
        known = self._pods.by_index("namespace", meta.namespace(service))
        return addresses.candidates(service, known)


def _by_namespace(obj: Object) -> list[str]:
    return [meta.namespace(obj)]


def is_ending(error: ApiError) -> bool:
    """The namespace is being deleted, or gone: nothing more is to be made in it."""
    return "being terminated" in error.message or error.code == 404
