"""What the specs of all actors share: identities, certificates and the files of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.component import ActorSpec, ComponentSpec
from cluster.compose.layout import Layout, Placed, own_port
from cluster.compose.shape import Shape
from cluster.machinery import jwt
from cluster.pki import Authority, KeyPair

ENCRYPTION = ("pki", "encryption.yaml")
"""In a cluster's folder: the keys of what stands encrypted in its store."""
FRONT_PROXY = "front-proxy-client"
"""Whom API servers behind ours, and ours behind others, believe who asks (an own authority)."""
ELECTION = {"lease_s": 4.0, "renew_s": 3.0, "retry_s": 0.5}
"""Shorter than upstream's 15/10/2: hand-over matters more here than sparing a few writes."""

Files = tuple[tuple[str, bytes], ...]
"""Paths and what must stand there."""


class Wiring:
    """One cluster while its specs are made; holds the authority while they are."""

    def __init__(
        self, shape: Shape, placed: Layout, authority: Authority, encryption: bytes
    ) -> None:
        self.shape, self.layout, self.authority = shape, placed, authority
        self.account_key = jwt.new_signing_key()
        self.encryption = encryption
        self._front = Authority.create(f"raykube-{shape.name}-front-proxy-ca")
        self._front_client = self._front.issue(FRONT_PROXY)

    def identity(self, name: str, pair: KeyPair) -> tuple[dict[str, str], Files]:
        """TLS paths for a config, and the files that must stand there."""
        paths = {
            "ca": self.shape.path("pki", "ca.crt"),
            "cert": self.shape.path("pki", f"{name}.crt"),
            "key": self.shape.path("pki", f"{name}.key"),
        }
        contents = (self.authority.pair.certificate, pair.certificate, pair.key)
        return paths, tuple(zip(paths.values(), contents, strict=True))

    def client(
        self, actor: str, user: str, groups: Sequence[str] = ()
    ) -> tuple[dict[str, Any], Files]:
        """An API client's config under the identity `user`, and its files."""
        tls, files = self.identity(f"{actor}-client", self.authority.issue(user, groups))
        return {"servers": self.layout.api_urls, **tls}, files

    def spec(
        self,
        placed: Placed,
        kind: str,
        components: Sequence[ComponentSpec],
        files: Files,
    ) -> ActorSpec:
        log_file = self.shape.path("logs", f"{placed.name}.log")
        return ActorSpec(placed.name, kind, tuple(components), placed.machine.pin, files, log_file)

    def front_proxy(self) -> tuple[dict[str, Any], Files]:
        """The part of an API server's config that is about other API servers, and its files."""
        names = ("front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key")
        ca, cert, key = (self.shape.path("pki", name) for name in names)
        client = self._front_client
        config = {
            "request_header": {"ca": ca, "allowed_names": [FRONT_PROXY]},
            "proxy_client": {"cert": cert, "key": key},
        }
        certificate = self._front.pair.certificate
        return config, ((ca, certificate), (cert, client.certificate), (key, client.key))

    def pages(
        self, placed: Sequence[Placed], one: Placed, port: int
    ) -> tuple[dict[str, Any], Files]:
        """Where one tells its metrics, and the files of its certificate."""
        pair = self.authority.issue(f"raykube:{one.name}", names=[one.address, "localhost"])
        tls, files = self.identity(f"{one.name}-server", pair)
        return {"address": f"{one.address}:{own_port(placed, one, port)}", "tls": tls}, files
