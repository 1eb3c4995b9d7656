"""Renews a kubelet's certificate before it ends, by a CertificateSigningRequest of its own."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.kubelet.certificate_files import CertificateFile, Pair
from cluster.machinery.status import ApiError

log = logging.getLogger(__name__)

Object = dict[str, Any]

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
WAIT_S, LOOK_S = 900.0, 1.0
RETRY_S, RETRY_MAX_S = 2.0, 300.0
EARLIEST, SPREAD = 0.7, 0.2
"""A certificate is renewed after 70 to 90 percent of its life, as upstream."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for; `names`: DNS names and addresses of a server."""

    signer: str
    usage: str
    node: str
    names: tuple[str, ...] = ()


def client(node: str) -> Wanted:
    return Wanted("kubernetes.io/kube-apiserver-client-kubelet", "client auth", node)


def serving(node: str, names: Sequence[str]) -> Wanted:
    return Wanted("kubernetes.io/kubelet-serving", "server auth", node, tuple(names))


class Refused(Exception):
    """The request was denied, or has failed; the message says why."""


class Rotation:
    """`run` until cancelled; `use` is called with every new certificate."""

    def __init__(
        self,
        api: Client,
        seams: Seams,
        file: CertificateFile,
        wanted: Wanted,
        use: Callable[[Pair], None],
    ) -> None:
        self._client, self._seams, self._file = api, seams, file
        self._wanted, self._use = wanted, use

    async def run(self) -> None:
        retry_s = RETRY_S
        while True:
            await self._seams.clock.sleep(self._due_in_s(self._file.current()))
            try:
                await self.renew()
                retry_s = RETRY_S
            except (ApiError, ClientError, Refused, ValueError, OSError) as error:
                log.warning("the %s certificate is not renewed: %s", self._wanted.usage, error)
                await self._seams.clock.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)

    def _due_in_s(self, pair: Pair) -> float:
        part = EARLIEST + SPREAD * self._seams.randomness.random()
        due_s = pair.begins_s + part * (pair.ends_s - pair.begins_s)
        return max(0.0, due_s - self._seams.clock.wall())

    async def renew(self) -> None:
        """Ask, wait for the answer, and use it. Raises Refused and the client's errors."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = await self._client.create(REQUESTS, request(self._wanted, key))
        certificate = await self._answer(made["metadata"]["name"])
        pair = self._file.save(certificate, _pem(key))
        self._use(pair)
        log.info("the %s certificate has been renewed", self._wanted.usage)

    async def _answer(self, name: str) -> bytes:
        """Asked for again and again: a node may read its own requests, and not watch all."""
        ends_s = self._seams.clock.now() + WAIT_S
        while self._seams.clock.now() < ends_s:
            found = await self._client.get(REQUESTS, name)
            status = found.get("status") or {}
            if status.get("certificate"):
                return base64.b64decode(status["certificate"])
            for condition in status.get("conditions") or ():
                if condition.get("type") in ("Denied", "Failed"):
                    why = condition.get("message") or condition.get("reason") or ""
                    raise Refused(f"request {name}: {condition['type']}: {why}")
            await self._seams.clock.sleep(LOOK_S)
        raise Refused(f"request {name} was not signed within {WAIT_S:g} s")


async def run_all(rotations: Sequence[Rotation]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in rotations:
            group.create_task(each.run())


def request(wanted: Wanted, key: ec.EllipticCurvePrivateKey) -> Object:
    """The CertificateSigningRequest object (pure but for the key's signature)."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{wanted.node}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if wanted.names:
        names = x509.SubjectAlternativeName([_general(name) for name in wanted.names])
        builder = builder.add_extension(names, critical=False)
    text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(text).decode(),
            "signerName": wanted.signer,
            "usages": ["digital signature", wanted.usage],
        },
    }


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
