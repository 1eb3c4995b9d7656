"""Other API servers behind the one of a test, each in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

from cluster.machinery import meta

PROGRAMS = Path(__file__).parents[1] / "extensions"
API_SERVICES = "apiservices.apiregistration.k8s.io"


class Extension:
    """Registered and available within the block. `served`: group -> version."""

    def __init__(self, plane, program, served, **config):
        self.plane, self.program, self.served, self.config = plane, program, served, config
        self.process = None
        self.port = 0

    async def __aenter__(self):
        names = [f"{self.program}.default.svc", "127.0.0.1"]
        self.tls = self.plane.identity(self.program, names=names)
        await self.start()
        await self._register()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self):
        """On the same port as before, if there was one."""
        path = self.plane.folder / f"{self.program}.json"
        path.write_text(json.dumps({**self.tls, "port": self.port, **self.config}))
        program = str(PROGRAMS / f"{self.program}.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, program, str(path), stdout=asyncio.subprocess.PIPE
        )
        self.port = int(await self.process.stdout.readline())

    async def stop(self):
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.process = None

    async def _register(self):
        client, name = self.plane.client, self.program
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"ports": [{"name": "https", "port": 443}]}}  # fmt: skip
        await client.create("services", service, "default")
        labels = {"kubernetes.io/service-name": name}
        await client.create("endpointslices.discovery.k8s.io", {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": labels},
            "endpoints": [{"addresses": ["127.0.0.1"]}],
            "ports": [{"name": "https", "port": self.port}],
        }, "default")  # fmt: skip
        for group, version in self.served.items():
            await client.create(API_SERVICES, self._api_service(group, version))
            await self.until_available(f"{version}.{group}")

    def _api_service(self, group, version):
        spec = {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": base64.b64encode(self.plane.authority.pair.certificate).decode(),
            "service": {"name": self.program, "namespace": "default"},
        }
        return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": f"{version}.{group}"}, "spec": spec}  # fmt: skip

    async def until_available(self, name, wanted=True):
        async def check():
            return await is_available(self.plane, name) == wanted

        await self.plane.until(check, 30)


async def is_available(plane, name):
    services = await plane.client.list(API_SERVICES)
    found = {meta.name(s): s for s in services["items"]}
    return name in found and meta.condition_is(found[name], "Available")
