"""API servers as real processes over a store of real members: started, killed, paused, stopped."""

from __future__ import annotations

import asyncio
import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from actors.seams import system_seams
from cluster.client import Client, ClientConfig
from cluster.client.errors import ClientError
from cluster.machinery import jwt
from cluster.pki import Authority, KeyPair
from raftstore.faults.processes import StoreProcesses, free_addresses

READY_S = 30.0
STOP_S = 30.0
POLL_S = 0.02


class ServerProcesses:
    """`servers` API servers named a0, a1, ..; their addresses and certificates stay."""

    def __init__(
        self, folder: pathlib.Path, servers: int = 3, members: int = 3, **settings: Any
    ) -> None:
        self.names = [f"a{number}" for number in range(servers)]
        self.addresses = dict(zip(self.names, free_addresses(servers), strict=True))
        self.store = StoreProcesses(folder, members)
        self._folder = folder
        self._authority = Authority.create("chaos")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "ca.crt").write_bytes(self._authority.pair.certificate)
        (folder / "account.key").write_bytes(jwt.new_signing_key())
        tls = self._files("server", self._authority.issue("kube-apiserver", names=["127.0.0.1"]))
        self._admin = self.user("chaos-admin", ["system:masters"])
        for name, address in self.addresses.items():
            config = {
                "name": name,
                "address": address,
                "store": self.store.endpoints,
                "tls": tls,
                "service_cidr": "127.250.0.0/16",
                "service_account": {
                    "issuer": "https://kubernetes.default.svc",
                    "key": str(folder / "account.key"),
                },
                **settings,
            }
            (folder / f"{name}.json").write_text(json.dumps(config))

    # ---- identities

    def _files(self, name: str, pair: KeyPair) -> dict[str, str]:
        (self._folder / f"{name}.crt").write_bytes(pair.certificate)
        (self._folder / f"{name}.key").write_bytes(pair.key)
        paths = {"cert": f"{self._folder}/{name}.crt", "key": f"{self._folder}/{name}.key"}
        return {"ca": f"{self._folder}/ca.crt", **paths}

    def user(self, name: str, groups: Sequence[str] = ()) -> dict[str, str]:
        """Paths of a client certificate."""
        return self._files(name, self._authority.issue(name, groups))

    def client(self, user: dict[str, str], *names: str, timeout_s: float = 15.0) -> Client:
        """Of these servers in this order, by default of all."""
        urls = tuple(f"https://{self.addresses[name]}" for name in names or self.names)
        config = ClientConfig.from_dict({"servers": urls, **user})
        return Client(config, system_seams(), "chaos", timeout_s=timeout_s)

    def admin(self, *names: str) -> Client:
        return self.client(self._admin, *names)

    # ---- processes

    def start(self, *names: str) -> None:
        for name in names or self.names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self._command(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def _command(self, name: str) -> list[str]:
        module = "cluster.apiserver.process"
        return [sys.executable, "-m", module, f"{self._folder}/{name}.json"]

    async def ready(self, *names: str) -> float:
        """Until /readyz of these answers 200; how long that took. Raises TimeoutError."""
        began_s = time.monotonic()
        for name in names or self.names:
            try:
                await asyncio.wait_for(self._ready(name), READY_S)
            except TimeoutError:
                raise TimeoutError(f"{name} is not ready:\n{self.logs(name)}") from None
        return time.monotonic() - began_s

    async def _ready(self, name: str) -> None:
        client = self.admin(name)
        try:
            while True:
                try:
                    if (await client.raw("GET", "/readyz")).status == 200:
                        return
                except ClientError:
                    pass  # it does not listen yet
                await asyncio.sleep(POLL_S)
        finally:
            await client.close()

    async def endpoints(self) -> set[str]:
        """The servers that the Service `kubernetes` leads to, as a server that runs tells."""
        client = self.admin(*self._processes)
        found = await client.get("endpoints", "kubernetes", "default")
        await client.close()
        ports = {port["port"] for subset in found.get("subsets") or () for port in subset["ports"]}
        return {n for n, a in self.addresses.items() if int(a.rpartition(":")[2]) in ports}

    def kill(self, *names: str) -> None:
        for name in names or self.names:
            process = self._processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    async def terminate(self, name: str) -> float:
        """Ask a server to end and wait for it; how long it took. Raises TimeoutError."""
        began_s, process = time.monotonic(), self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.to_thread(process.wait)
        except TimeoutError:
            process.kill()  # which also ends the thread that waits
            raise
        if process.returncode:
            raise RuntimeError(f"{name} ended with status {process.returncode}: {self.logs(name)}")
        return time.monotonic() - began_s

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def stop(self) -> None:
        """Everything, at once."""
        self.kill(*self._processes)
        self.store.stop()

    def ended(self) -> list[str]:
        """Servers that ended by themselves, with their last words."""
        gone = [name for name, process in self._processes.items() if process.poll() is not None]
        return [f"{name} ended: {self.logs(name)}" for name in gone]

    def logs(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text().splitlines()
        return "\n".join(lines[-20:])
