"""From a Service to an address that can be dialled: straight to a ready endpoint.

No proxy of a node is needed on the way, so a control plane without nodes can aggregate too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from cluster.apiserver.endpoints import Address, ready, slices_of
from cluster.apiserver.lookup import Lookup
from cluster.machinery.apiservices.service import ServiceReference
from cluster.storage.cache import ResourceCache
from cluster.storage.entry import Entry

SERVICES = "v1/services"


class Unresolved(Exception):
    """Nothing stands behind the Service; `reason` is the one of an APIService's condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Services:
    """Reads what the watch caches hold."""

    def __init__(self, lookup: Lookup, slices: ResourceCache, randomness: Random) -> None:
        self._lookup, self._slices, self._randomness = lookup, slices, randomness

    def version(self, reference: ServiceReference) -> object:
        """Changes when anything does that `addresses` depends on."""
        service = self._lookup.cached(SERVICES, reference.namespace, reference.name)
        known = None if service is None else service["metadata"].get("resourceVersion")
        return known, tuple(entry.revision for entry in self._entries(reference))

    def pick(self, reference: ServiceReference) -> Address:
        """One of them at random. Raises Unresolved."""
        return self._randomness.choice(self.addresses(reference))

    def addresses(self, reference: ServiceReference) -> Sequence[Address]:
        """Where to dial, never none. Raises Unresolved in upstream's words."""
        name, namespace = reference.name, reference.namespace
        service = self._lookup.cached(SERVICES, namespace, name)
        if service is None:
            text = f'service/{name} in "{namespace}" is not present'
            raise Unresolved("ServiceNotFound", text)
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return [(str(spec["externalName"]), reference.port)]
        port = next((p for p in spec.get("ports") or () if p["port"] == reference.port), None)
        if port is None:
            text = f'service/{name} in "{namespace}" is not listening on port {reference.port}'
            raise Unresolved("ServicePortError", text)
        return self._endpoints(reference, port.get("name") or "")

    def _endpoints(self, reference: ServiceReference, port_name: str) -> Sequence[Address]:
        about = f'service/{reference.name} in "{reference.namespace}"'
        slices = [entry.decode() for entry in self._entries(reference)]
        if not slices:
            raise Unresolved("EndpointsNotFound", f"cannot find endpointslices for {about}")
        found = [address for each in slices for address in ready(each, port_name)]
        if not found:
            text = f'endpointslices for {about} have no addresses with port name "{port_name}"'
            raise Unresolved("MissingEndpoints", text)
        return found

    def _entries(self, reference: ServiceReference) -> Iterator[Entry]:
        return slices_of(self._slices, reference.namespace, reference.name)
