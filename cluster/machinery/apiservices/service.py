"""One APIService as the server uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.machinery import meta

Object = dict[str, Any]

KEY = "apiregistration.k8s.io/v1/apiservices"
AVAILABLE = "Available"
HTTPS_PORT = 443
LOCAL = {
    "type": AVAILABLE,
    "status": "True",
    "reason": "Local",
    "message": "Local APIServices are always available",
}
"""The condition of a group and version that the server serves itself."""


@dataclass(frozen=True, slots=True)
class ServiceReference:
    """The Service behind which another API server listens."""

    namespace: str
    name: str
    port: int

    @property
    def host(self) -> str:
        """The name that the server's certificate must bear."""
        return f"{self.name}.{self.namespace}.svc"


@dataclass(frozen=True, slots=True)
class ApiService:
    """`service` is None for what is served here. `ca_bundle` is base64, as in the object."""

    name: str
    uid: str
    group: str
    version: str
    group_priority: int
    version_priority: int
    service: ServiceReference | None
    ca_bundle: str
    skip_verify: bool
    available: bool

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path under which all of it lies."""
        return f"/apis/{self.group_version}" if self.group else f"/api/{self.version}"


def parse(obj: Object) -> ApiService:
    """From an object that is stored, so one that is valid."""
    metadata, spec = obj["metadata"], obj["spec"]
    service = spec.get("service")
    return ApiService(
        metadata["name"],
        metadata.get("uid", ""),
        spec.get("group") or "",
        spec["version"],
        int(spec["groupPriorityMinimum"]),
        int(spec["versionPriority"]),
        None if service is None else _reference(service),
        spec.get("caBundle") or "",
        bool(spec.get("insecureSkipTLSVerify")),
        meta.condition_is(obj, AVAILABLE),
    )


def _reference(service: Object) -> ServiceReference:
    port = int(service.get("port") or HTTPS_PORT)
    return ServiceReference(service["namespace"], service["name"], port)
