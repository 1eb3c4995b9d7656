from __future__ import annotations

import pytest


def make_owner(kind, **spec):
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]},
    }
    selector = {"matchLabels": {"app": "x"}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"selector": selector, "template": template, **spec},
    }


KINDS = {
    "DaemonSet": ("daemonsets.apps", {}, "successfully rolled out"),
    "StatefulSet": (
        "statefulsets.apps",
        {"replicas": 2},
        "roll out complete: 2 new pods have been updated",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_rolls_out_shows_the_history_and_undoes(control_plane, make, kind):
    resource, spec, done = KINDS[kind]
    what = f"{kind.lower()}/x"

    async def test(plane):
        await plane.manager(node_grace_s=3600)
        await plane.scheduler()
        await plane.run_pods(bind=False)
        for name in ("n1", "n2"):
            await plane.client.create("nodes", make.node(name))
        await plane.client.create(resource, make_owner(kind, **spec))

        async def images():
            found = await plane.items("pods")
            return {p["spec"]["containers"][0]["image"] for p in found}

        await plane.kubectl("rollout", "status", what, "--timeout=20s")
        await plane.kubectl("set", "image", what, "c=v2")
        told = await plane.kubectl("rollout", "status", what, "--timeout=20s")
        assert done in told
        assert await images() == {"v2"}
        history = await plane.kubectl("rollout", "history", what)
        assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
        first = await plane.kubectl("rollout", "history", what, "--revision=1")
        assert "v1" in first
        assert "rolled back" in await plane.kubectl("rollout", "undo", what)
        await plane.kubectl("rollout", "status", what, "--timeout=20s")
        assert await images() == {"v1"}
        history = await plane.kubectl("rollout", "history", what)
        assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["2", "3"]

    control_plane(test)


def test_kubectl_makes_a_job_from_a_cron_job_and_waits_for_it(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        arguments = ("--image=i", "--schedule=0 0 1 1 *")
        await plane.kubectl("create", "cronjob", "yearly", *arguments)
        await plane.kubectl("create", "job", "now", "--from=cronjob/yearly")

        async def running():
            found = await plane.items("pods", selector="job-name=now")
            return [p["metadata"]["name"] for p in found if "podIP" in p["status"]]

        (name,) = await plane.until(running)
        status = {"status": {"phase": "Succeeded"}}
        await plane.client.patch(
            "pods", name, status, "default", kind="merge", subresource="status"
        )
        await plane.kubectl("wait", "job/now", "--for=condition=complete", "--timeout=20s")
        (owner,) = (await plane.client.get("jobs.batch", "now", "default"))["metadata"][
            "ownerReferences"
        ]
        assert owner["name"] == "yearly"

    control_plane(test)
