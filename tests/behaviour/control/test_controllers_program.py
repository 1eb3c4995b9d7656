"""A controller of one's own, as a program: the one in examples/, with the real kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

EXAMPLE = Path(__file__).parents[3] / "examples/controllers"
MIRROR = {
    "apiVersion": "example.com/v1",
    "kind": "Mirror",
    "metadata": {"name": "motd"},
    "spec": {"namespaces": ["one", "two"], "data": {"text": "hello"}},
}


def kubeconfig(plane):
    given = plane.client_config
    cluster = {"server": plane.url, "certificate-authority": given["ca"]}
    user = {"client-certificate": given["cert"], "client-key": given["key"]}
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = plane.folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return str(path)


async def start(plane):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE / "mirror.py"),
        env=os.environ | {"KUBECONFIG": kubeconfig(plane)},
        cwd=Path(__file__).parents[3],
    )


async def leader(plane):
    try:
        lease = await plane.client.get(
            "leases.coordination.k8s.io", "mirror-controller", "kube-system"
        )
    except Exception:
        return ""
    return lease["spec"].get("holderIdentity") or ""


async def apply(plane, obj):
    path = plane.folder / "object.json"
    path.write_text(json.dumps(obj))
    await plane.kubectl("apply", "-f", str(path))


async def text(plane, namespace):
    try:
        found = await plane.client.get("configmaps", "motd", namespace)
    except Exception:
        return None
    return found["data"]["text"]


def test_a_users_own_controller_follows_its_objects_and_hands_over_cleanly(control_plane):
    async def body(plane):
        await plane.manager(controllers=["garbage-collector", "namespace"])
        await plane.kubectl("apply", "-f", str(EXAMPLE / "mirrors.yaml"))
        await plane.kubectl(
            "wait", "--for=condition=Established", "crd/mirrors.example.com", "--timeout=20s"
        )
        await plane.kubectl("create", "namespace", "one")
        first = await start(plane)
        second = None
        try:
            await apply(plane, MIRROR)

            async def in_one():
                return await text(plane, "one") == "hello"

            await plane.until(in_one)
            await plane.kubectl("create", "namespace", "two")

            async def in_two():
                return await text(plane, "two") == "hello"

            await plane.until(in_two)
            was = await leader(plane)
            second = await start(plane)
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0

            async def handed_over():
                now = await leader(plane)
                return now and now != was

            await plane.until(handed_over)
            await plane.kubectl(
                "patch", "configmap", "motd", "-n", "one", "-p", '{"data":{"text":"spoilt"}}'
            )
            await plane.until(in_one)
            told = await plane.kubectl("get", "events", "-A", "-o", "name")
            assert "motd" in told
            await plane.kubectl("delete", "mirror", "motd")
            await plane.gone("configmaps", "motd", "one")
            await plane.gone("configmaps", "motd", "two")
        finally:
            for program in (first, second):
                if program is not None and program.returncode is None:
                    program.send_signal(signal.SIGTERM)
                    await program.wait()

    control_plane(body)


def test_metrics_of_controllers_are_told_over_https_as_client_go_names_them(control_plane, make):
    async def body(plane):
        tls = plane.identity("manager-pages", names=["127.0.0.1"])
        manager = await plane.manager(
            controllers=["replicaset", "deployment"], pages={"address": "127.0.0.1:0", "tls": tls}
        )
        await plane.leading(manager)
        await plane.client.create("deployments.apps", make.deployment(replicas=1))

        async def has_pod():
            return await plane.items("pods")

        await plane.until(has_pod)
        from cluster.client import Client, ClientConfig

        config = {**plane.client_config, "servers": [f"https://{manager.address}"]}
        client = Client(ClientConfig.from_dict(config), plane.seams)
        answer = await client.raw("GET", "/metrics")
        missing = await client.raw("GET", "/else")
        await client.close()
        lines = answer.body.decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines)
        assert values['leader_election_master_status{name="kube-controller-manager"}'] == "1"
        assert int(values['workqueue_adds_total{name="replicaset"}']) >= 1
        assert int(values['workqueue_work_duration_seconds_count{name="deployment"}']) >= 1
        assert values['controller_reconcile_errors_total{controller="deployment"}'].isdigit()
        assert missing.status == 404

    control_plane(body)


@pytest.mark.parametrize("name", ["mirror.py"])
def test_the_example_is_as_short_as_the_docs_say(name):
    assert len((EXAMPLE / name).read_text().splitlines()) < 60
