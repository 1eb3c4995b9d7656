"""An API server over MemoryStore in a thread, with its own certificates, and the real kubectl."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.seams import system_seams
from cluster.apiserver.server import ApiServer
from raftstore.testing import MemoryStore

KUBECTL = shutil.which("kubectl")
SERVICE_CIDR = "127.99.0.0/16"


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name, [])
        self._certificate = self._sign(self._name, self._key.public_key(), ca=True, names=[])
        self.ca = self._write("ca.crt", self._certificate.public_bytes(_PEM))

    def issue(
        self, name: str, groups: list[str] | None = None, server: bool = False, dns: str = ""
    ) -> dict[str, str]:
        """Paths of ca, cert and key for a user with these groups, or for a server (`dns`: its name
        beside its address)."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = ["127.0.0.1", *filter(None, [dns])] if server else []
        certificate = self._sign(_name(name, groups or []), key.public_key(), False, names)
        file = name.replace(":", "-")
        secret = key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        cert = self._write(f"{file}.crt", certificate.public_bytes(_PEM))
        return {"ca": self.ca, "cert": cert, "key": self._write(f"{file}.key", secret)}

    def _write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)

    def _sign(self, subject: x509.Name, key: Any, ca: bool, names: list[str]) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if ca:
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True,
                content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, encipher_only=False, decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), False
            )
        return builder.sign(self._key, hashes.SHA256())


_PEM = serialization.Encoding.PEM


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common: str, groups: list[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


class RunningApi:
    """A server in a thread. `kubectl(...)` runs the real one as a cluster administrator."""

    def __init__(self, folder: Path, store: Any = None, **config: Any) -> None:
        self.folder, self.config = folder, config
        self.authority = Authority(folder)
        self._server_tls = self.authority.issue("kube-apiserver", server=True)
        self.admin = self.authority.issue("admin", ["system:masters"])
        self.store: Any = store or MemoryStore()
        self._kubelet_tls = self.authority.issue("kubelet-client", ["system:masters"])
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()
        self.kubeconfig = self._write_kubeconfig(self.admin, "kubeconfig")

    def call(self, coroutine: Coroutine[Any, Any, Any], timeout_s: float = 30) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def start(self) -> None:
        """Start the server, on the same address as before if there was one."""
        self.call(self._start())

    async def _start(self) -> None:
        self.server = ApiServer(self.store)
        config = {
            "name": "api-0",
            "address": f"127.0.0.1:{self.port}",
            "advertise_address": "127.0.0.1",
            "store": [],
            "tls": self._server_tls,
            "kubelet_tls": self._kubelet_tls,
            "service_cidr": SERVICE_CIDR,
            **self.config,
        }
        await self.server.start(system_seams(), config)
        while not (await self.server.health()).ready:
            await asyncio.sleep(0.01)
        assert self.server.address is not None
        self.port = int(self.server.address.rpartition(":")[2])

    def stop(self) -> None:
        self.call(self.server.stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _write_kubeconfig(self, user: dict[str, str], name: str) -> str:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{
                "name": "test",
                "cluster": {
                    "server": f"https://127.0.0.1:{self.port}",
                    "certificate-authority": user["ca"],
                },
            }],
            "users": [{
                "name": "user",
                "user": {"client-certificate": user["cert"], "client-key": user["key"]},
            }],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        }  # fmt: skip
        path = self.folder / name
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def kubeconfig_for(self, name: str, groups: list[str] | None = None) -> str:
        """A kubeconfig of another user."""
        user = self.authority.issue(name, groups)
        return self._write_kubeconfig(user, f"kubeconfig-{name.replace(':', '-')}")

    def command(self, *args: str, kubeconfig: str = "") -> list[str]:
        assert KUBECTL is not None
        cache = str(self.folder / "cache")
        return [
            KUBECTL,
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            f"--cache-dir={cache}",
            *args,
        ]

    def kubectl(
        self, *args: str, stdin: str | None = None, ok: bool = True, kubeconfig: str = ""
    ) -> str:
        """What kubectl prints; with ok=False what it says when it fails, as it must."""
        result = subprocess.run(
            self.command(*args, kubeconfig=kubeconfig),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode == 0) is ok, f"{args}: {result.stdout}\n{result.stderr}"
        return result.stdout if ok else result.stderr

    def get(self, *args: str) -> Any:
        """`kubectl get ARGS -o json`."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def raw(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        user: dict[str, str] | None = None,
        anonymous: bool = False,
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of one plain HTTPS request."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}", data=body, method=method, headers=headers or {}
        )
        try:
            with urllib.request.urlopen(
                request, context=self._tls(None if anonymous else user or self.admin), timeout=30
            ) as answer:
                return answer.status, _lower(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _lower(error.headers), error.read()

    def json(self, method: str, path: str, obj: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, decoded body); `obj` is sent as JSON."""
        body = None if obj is None else json.dumps(obj).encode()
        sent = {"Content-Type": "application/json"}
        sent |= {k.replace("_", "-"): v for k, v in headers.items()}
        status, _, answer = self.raw(method, path, body, sent)
        return status, json.loads(answer)

    def _tls(self, user: dict[str, str] | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.ca)
        if user:
            context.load_cert_chain(user["cert"], user["key"])
        return context


def _lower(headers: Any) -> dict[str, str]:
    return {k.lower(): v for k, v in headers.items()}
