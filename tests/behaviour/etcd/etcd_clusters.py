"""A real etcd of three members and ours, with the same certificates, for the same commands."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from raftstore.faults.processes import StoreProcesses, free_addresses

PATIENCE_S = 30
NAMES = ("m0", "m1", "m2")


def make_certificates(folder: pathlib.Path) -> dict[str, str]:
    """A CA and one certificate without a common name, for servers and clients alike."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), now)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test")])
    own = _certificate(name, ca_name, key.public_key(), now)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    own = own.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files = {
        "ca": ca.sign(ca_key, hashes.SHA256()).public_bytes(pem),
        "cert": own.sign(ca_key, hashes.SHA256()).public_bytes(pem),
        "key": key.private_bytes(pem, *private),
    }
    for file_name, content in files.items():
        (folder / file_name).write_bytes(content)
    return {file_name: str(folder / file_name) for file_name in files}


def _certificate(subject: Any, issuer: Any, key: Any, now: datetime.datetime) -> Any:
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(now - day).not_valid_after(now + day)


class EtcdCluster:
    """Three processes of Debian's etcd; clients need a certificate. From a `backup` if given."""

    def __init__(
        self, folder: pathlib.Path, tls: Mapping[str, str], backup: pathlib.Path | None = None
    ) -> None:
        self._folder, self._tls = folder, tls
        self.peers = dict(zip(NAMES, free_addresses(3), strict=True))
        self.endpoints = free_addresses(3)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, client in zip(NAMES, self.endpoints, strict=True):
            if backup is not None:
                _restore(backup, self._place(name))
            self._start(name, client, "new")

    def _place(self, name: str) -> list[str]:
        initial = ",".join(f"{n}=http://{p}" for n, p in self.peers.items())
        return [
            *(f"--name={name}", f"--data-dir={self._folder / name}"),
            f"--initial-cluster={initial}",
            f"--initial-advertise-peer-urls=http://{self.peers[name]}",
        ]

    def _start(self, name: str, client: str, state: str) -> None:
        peer, tls = self.peers[name], self._tls
        command = [
            *("etcd", *self._place(name), f"--initial-cluster-state={state}"),
            *("--log-level=error", f"--listen-peer-urls=http://{peer}"),
            *(f"--listen-client-urls=https://{client}", "--logger=zap"),
            f"--advertise-client-urls=https://{client}",
            *(f"--cert-file={tls['cert']}", f"--key-file={tls['key']}"),
            *(f"--trusted-ca-file={tls['ca']}", "--client-cert-auth"),
        ]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )

    def join(self, name: str, peer: str) -> str:
        """Start a member that was added at `peer`; where its clients reach it."""
        self.peers[name] = peer
        [client] = free_addresses(1)
        self._start(name, client, "existing")
        return str(client)

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def wait_ended(self, name: str) -> None:
        """Until the process ends by itself."""
        self._processes[name].wait(PATIENCE_S)

    def stop(self) -> None:
        for name in list(self._processes):
            self.kill(name)


def _restore(backup: pathlib.Path, place: Sequence[str]) -> None:
    command = ["etcdctl", "snapshot", "restore", str(backup), *place]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    subprocess.run(command, check=True, env=environment, capture_output=True)


class OwnCluster:
    """Three of our members as processes, each with its gateway."""

    def __init__(self, folder: pathlib.Path, tls: Mapping[str, str], *, start: bool = True) -> None:
        self._tls = tls
        self.endpoints = free_addresses(3)
        self.processes = StoreProcesses(folder, 3)
        self.peers = dict(self.processes.peers)
        for name, address, own in zip(NAMES, self.endpoints, self.processes.endpoints, strict=True):
            self._configure(name, address, own)
        if start:
            self.processes.start()

    def _configure(self, name: str, address: str, own: str) -> None:
        gateway = {
            "address": address,
            "endpoints": self.processes.endpoints,
            "member": own,
            "tls": dict(self._tls),
        }
        self.processes.configure(name, gateway=gateway, client_urls=[f"https://{address}"])

    def join(self, name: str, peer: str) -> str:
        """Start a member that was added at `peer`; where its clients reach it."""
        [client] = free_addresses(1)
        self._configure(name, str(client), self.processes.add(name, peer))
        self.processes.start(name)
        return str(client)

    def kill(self, name: str) -> None:
        self.processes.kill(name)

    def wait_ended(self, name: str) -> None:
        """Until the process ends by itself."""
        self.processes.wait_ended(name, PATIENCE_S)

    def stop(self) -> None:
        self.processes.stop()


class Etcdctl:
    """The real etcdctl, against one cluster. `options` of a command come before these."""

    def __init__(
        self, endpoints: Sequence[str], tls: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        self.endpoints, self.tls, self.options = endpoints, tls, options

    def command(self, *arguments: str, endpoints: int = 3) -> list[str]:
        chosen = ",".join(f"https://{e}" for e in self.endpoints[:endpoints])
        files = [f"--cacert={self.tls['ca']}", f"--cert={self.tls['cert']}"]
        return [
            "etcdctl",
            f"--endpoints={chosen}",
            *files,
            f"--key={self.tls['key']}",
            *self.options,
            *arguments,
        ]

    def __call__(self, *arguments: str, stdin: str = "", endpoints: int = 3) -> Outcome:
        done = subprocess.run(
            self.command(*arguments, endpoints=endpoints),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on, with its output as a pipe."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ETCDCTL_API": "3"},
            start_new_session=True,
        )

    def wait_ready(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := self("endpoint", "health")).code:
            assert time.monotonic() < deadline_s, f"not healthy: {found}"
            time.sleep(0.2)

    def wait_for_terms(self) -> None:
        """Until the first endpoint, which most commands use, knows the term of a leader."""
        deadline_s = time.monotonic() + PATIENCE_S
        while '"raft_term"' not in self("get", "none", "-w", "json", endpoints=1).out:
            assert time.monotonic() < deadline_s, "no term is known"
            time.sleep(0.1)


class Outcome(NamedTuple):
    """`err`: all of standard error; `error`: its last line that is not the client's own log."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        lines = [line for line in self.err.splitlines() if not line.startswith("{")]
        return lines[-1] if lines else ""
