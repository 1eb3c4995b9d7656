"""How a node reaches registries. Pure.

    registries:
      docker.io: {mirrors: ["http://10.0.0.5:5000"]}     tried in this order, before the registry
      10.0.0.5:5000: {plain_http: true}
      registry.example.com: {ca: /etc/ca.pem}     or {insecure: true}: any certificate will do
      "*": {}                                     every other registry, as it is

Images of a registry that is not named here are not pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cluster.kubelet.images.names import DEFAULT_REGISTRY

_HOSTS = {DEFAULT_REGISTRY: "registry-1.docker.io"}
_KEYS = {"mirrors", "plain_http", "insecure", "ca"}


@dataclass(frozen=True)
class Endpoint:
    """Where one registry, or a mirror of it, answers."""

    host: str
    port: int
    tls: bool = True
    insecure: bool = False
    ca: str = ""
    path: str = ""

    @property
    def authority(self) -> str:
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Registry:
    mirrors: tuple[str, ...] = ()
    plain_http: bool = False
    insecure: bool = False
    ca: str = ""


class Registries:
    def __init__(self, known: Mapping[str, Registry]) -> None:
        self._known = known

    def knows(self, registry: str) -> bool:
        return registry in self._known or "*" in self._known

    def endpoints(self, registry: str) -> list[Endpoint]:
        """Where to ask, in order: mirrors first."""
        found = self._known.get(registry) or self._known.get("*") or Registry()
        own = _HOSTS.get(registry, registry)
        scheme = "http" if found.plain_http else "https"
        urls = [*found.mirrors, f"{scheme}://{own}"]
        return [_endpoint(url, found.insecure, found.ca) for url in urls]


def parse(value: Any) -> Registries:
    """Raises ValueError with what is wrong."""
    if not isinstance(value, Mapping):
        raise ValueError("registries: a mapping from registries to their settings is wanted")
    return Registries({str(name): _registry(str(name), each) for name, each in value.items()})


def _registry(name: str, value: Any) -> Registry:
    if not isinstance(value or {}, Mapping):
        raise ValueError(f"registries: {name}: settings are wanted")
    value = dict(value or {})
    if unknown := set(value) - _KEYS:
        raise ValueError(f"registries: {name}: unknown setting {sorted(unknown)[0]!r}")
    mirrors = value.get("mirrors") or []
    if not isinstance(mirrors, list) or not all(_is_url(each) for each in mirrors):
        raise ValueError(f"registries: {name}: mirrors are a list of http or https URLs")
    plain, insecure = bool(value.get("plain_http")), bool(value.get("insecure"))
    return Registry(tuple(mirrors), plain, insecure, str(value.get("ca") or ""))


def _is_url(text: Any) -> bool:
    found = urlsplit(text) if isinstance(text, str) else None
    return found is not None and found.scheme in ("http", "https") and bool(found.hostname)


def _endpoint(url: str, insecure: bool, ca: str) -> Endpoint:
    found = urlsplit(url)
    tls = found.scheme == "https"
    port = found.port or (443 if tls else 80)
    return Endpoint(found.hostname or "", port, tls, insecure, ca, found.path.rstrip("/"))
