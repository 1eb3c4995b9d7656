"""Kubelets renew their certificates through the cluster's own controllers."""

import asyncio
import datetime
import ssl

import pytest

from cluster import pki
from cluster.client import Client, ClientConfig
from cluster.kubelet import rotation
from cluster.kubelet.certificate_files import CertificateFile
from cluster.kubelet.rotation import REQUESTS, Refused, Rotation
from cluster.kubelet.server import KubeletServer

ME = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
WHO = "selfsubjectreviews.authentication.k8s.io"


async def signing_manager(plane):
    pair = plane.authority.pair
    files = {"certificate": plane.folder / "ca.crt", "key": plane.folder / "ca.key"}
    files["certificate"].write_bytes(pair.certificate)
    files["key"].write_bytes(pair.key)
    await plane.manager(
        controllers=["certificatesigningrequest-approving", "certificatesigningrequest-signing"],
        signing={part: str(path) for part, path in files.items()},
        own_accounts=True,
    )


def node_client(plane, identity):
    client = Client(ClientConfig((plane.url,), **identity), plane.seams, "node")
    plane.clients.append(client)
    return client


def test_a_client_certificate_is_renewed_and_connections_move_over(control_plane, monkeypatch):
    async def test(plane):
        await signing_manager(plane)
        monkeypatch.setattr(pki, "VALID", datetime.timedelta(minutes=5))
        old = plane.identity("system:node:n1", ["system:nodes"])
        monkeypatch.undo()
        client = node_client(plane, old)
        file = CertificateFile(str(plane.folder / "pki"), "client", old["cert"], old["key"])
        used = asyncio.Queue()

        def use(pair):
            client.use_certificate(pair.cert, pair.key)
            used.put_nowait(pair)

        rotated = Rotation(client, plane.seams, file, rotation.client("n1"), use)
        task = asyncio.create_task(rotated.run())  # 92 % of its life are over: it is due
        pair = await used.get()
        assert pair.ends_s > file.current().begins_s + 300 * 86400
        assert file.current() == pair
        answer = await client.create(WHO, ME)
        assert answer["status"]["userInfo"]["username"] == "system:node:n1"
        assert client.config.cert == pair.cert
        assert not task.done()
        task.cancel()
        again = CertificateFile(str(plane.folder / "pki"), "client", old["cert"], old["key"])
        assert again.current() == pair  # after a restart, too

    control_plane(test)


def test_a_server_gets_the_names_of_its_node_and_no_others(control_plane, make):
    async def test(plane):
        await signing_manager(plane)
        node = make.node("n1")
        node["status"]["addresses"] = [{"type": "InternalIP", "address": "127.0.0.1"}]
        await plane.client.create("nodes", node)
        client = node_client(plane, plane.identity("system:node:n1", ["system:nodes"]))
        tls = plane.identity("first-server", names=["127.0.0.1"])
        file = CertificateFile(str(plane.folder / "pki"), "server", tls["cert"], tls["key"])

        async def may(request):
            return True

        server = KubeletServer(plane.seams, None, "n1", may)
        await server.start("127.0.0.1", 0, tls)

        async def shown():
            context = ssl.create_default_context(cafile=tls["ca"])
            context.load_cert_chain(tls["cert"], tls["key"])
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
            found = writer.get_extra_info("ssl_object").getpeercert()
            writer.close()
            return dict(part for (part,) in found["subject"])["commonName"]

        try:
            assert await shown() == "first-server"

            def use(pair):
                server.use_certificate(pair.cert, pair.key)

            wanted = rotation.serving("n1", ("127.0.0.1", "n1"))
            await Rotation(client, plane.seams, file, wanted, use).renew()
            assert await shown() == "system:node:n1"
            others = rotation.serving("n1", ("127.0.0.1", "api.example.com"))
            refused = Rotation(client, plane.seams, file, others, use)
            task = asyncio.create_task(refused.renew())

            async def waiting():
                found = (await plane.client.list(REQUESTS))["items"]
                return [r for r in found if not r.get("status")]

            (pending,) = await plane.until(waiting)
            pending["status"] = {"conditions": [{
                "type": "Denied", "status": "True", "reason": "Test", "message": "not yours",
            }]}  # fmt: skip
            await plane.client.update(REQUESTS, pending, subresource="approval")
            with pytest.raises(Refused, match="Denied: not yours"):
                await task
            assert await shown() == "system:node:n1"
        finally:
            await server.stop()

    control_plane(test)
