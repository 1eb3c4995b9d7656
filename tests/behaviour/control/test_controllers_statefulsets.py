from __future__ import annotations


def make_statefulset(replicas=3, **spec):
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template,
            **spec,
        },
    }


def make_claim_template():
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources}
    return {"metadata": {"name": "data"}, "spec": spec}


async def start(plane, **spec):
    await plane.manager()
    await plane.run_pods()
    await plane.client.create("statefulsets.apps", make_statefulset(**spec))


def settled(plane, updated=None):
    async def check():
        found = await plane.client.get("statefulsets.apps", "db", "default")
        status, goal = found.get("status") or {}, found["spec"]["replicas"]
        numbers = [status.get(name, 0) for name in ("replicas", "readyReplicas")]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        right = numbers == [goal, goal]
        wanted = goal if updated is None else updated
        return found if seen and right and status.get("updatedReplicas", 0) == wanted else None

    return check


async def images(plane):
    pods = await plane.items("pods")
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in pods}


async def change(plane, patch, kind="merge"):
    await plane.client.patch("statefulsets.apps", "db", patch, "default", kind=kind)


def uid_of(obj):
    return obj["metadata"]["uid"]


def image(value):
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": value}]}}}}


def record(plane):
    """Names of pods in the order in which they were first seen and gone."""
    seen = []

    def watch(kind, old, new):
        name = (new or old)["metadata"]["name"]
        what = "gone" if new is None else "there"
        if (what, name) not in seen[-3:]:
            seen.append((what, name))

    plane.kubelet.informer.subscribe(watch)
    return seen


def first(seen, what):
    return list(dict.fromkeys(name for kind, name in seen if kind == what))


def test_pods_come_up_in_order_with_names_and_volumes_and_go_in_reverse(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        seen = record(plane)
        policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
        spec = {
            "ordinals": {"start": 2},
            "volumeClaimTemplates": [make_claim_template()],
            "persistentVolumeClaimRetentionPolicy": policy,
        }
        await plane.client.create("statefulsets.apps", make_statefulset(**spec))
        await plane.until(settled(plane))
        assert first(seen, "there") == ["db-2", "db-3", "db-4"]
        (pod,) = [p for p in await plane.items("pods") if p["metadata"]["name"] == "db-3"]
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-3", "db")
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "3"
        assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data-db-3"}
        await change(plane, {"spec": {"replicas": 1}})
        await plane.until(settled(plane))
        assert first(seen, "gone") == ["db-4", "db-3"]

        async def one_claim():
            claims = await plane.items("persistentvolumeclaims")
            return [c["metadata"]["name"] for c in claims] == ["data-db-2"]

        await plane.until(one_claim)

    control_plane(test)


def test_an_update_goes_from_the_highest_down_to_the_partition_and_back(control_plane):
    async def test(plane):
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        await start(plane, updateStrategy=rolling)
        await plane.until(settled(plane))
        seen = record(plane)
        await change(plane, image("v2"))
        found = await plane.until(settled(plane, updated=2))
        assert await images(plane) == {"db-0": "v1", "db-1": "v2", "db-2": "v2"}
        assert first(seen, "gone") == ["db-2", "db-1"]
        assert found["status"]["currentRevision"] != found["status"]["updateRevision"]
        old = await plane.client.delete("pods", "db-0", "default")

        async def made_anew():
            found = [p for p in await plane.items("pods") if p["metadata"]["name"] == "db-0"]
            return found if found and found[0]["metadata"]["uid"] != uid_of(old) else None

        await plane.until(made_anew)
        assert (await images(plane))["db-0"] == "v1"
        await change(plane, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
        found = await plane.until(settled(plane))
        assert set((await images(plane)).values()) == {"v2"}
        revisions = await plane.items("controllerrevisions.apps")
        oldest = min(revisions, key=lambda r: r["revision"])
        await change(plane, oldest["data"], kind="strategic")
        await plane.until(settled(plane))
        assert set((await images(plane)).values()) == {"v1"}

    control_plane(test)


def test_a_pod_that_is_not_ready_holds_up_the_next(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods(ready=lambda pod: pod["metadata"]["name"] != "db-1")
        await plane.client.create("statefulsets.apps", make_statefulset())

        async def two_run():
            pods = await plane.items("pods")
            return sum("podIP" in (p.get("status") or {}) for p in pods) == 2

        await plane.until(two_run)
        assert set(await images(plane)) == {"db-0", "db-1"}

    control_plane(test)


def test_parallel_pods_are_made_at_once_and_updated_several_at_a_time(control_plane):
    async def test(plane):
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
        await plane.manager()
        await plane.run_pods(ready=lambda pod: pod["metadata"]["name"] != "db-0")
        spec = make_statefulset(podManagementPolicy="Parallel", updateStrategy=rolling)
        await plane.client.create("statefulsets.apps", spec)

        async def three():
            return len(await plane.items("pods")) == 3

        await plane.until(three)
        await change(plane, image("v2"))

        async def updated():
            return set((await images(plane)).values()) == {"v2"} and await three()

        await plane.until(updated)

    control_plane(test)
