from __future__ import annotations

from cluster.controllers.deployment_facts import REVISION
from cluster.machinery import meta


def settled(plane, name="web"):
    async def complete():
        found = await plane.client.get("deployments.apps", name, "default")
        status, goal = found.get("status") or {}, found["spec"]["replicas"]
        fields = ("replicas", "updatedReplicas", "availableReplicas")
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if seen and all(status.get(f, 0) == goal for f in fields) else None

    return complete


async def sets_by_revision(plane):
    sets = await plane.items("replicasets.apps")
    return {s["metadata"]["annotations"][REVISION]: s for s in sets}


def image(value):
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": value}]}}}}


async def patch(plane, change, kind="strategic"):
    return await plane.client.patch("deployments.apps", "web", change, "default", kind=kind)


def test_a_deployment_rolls_out_over_and_back(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create("deployments.apps", make.deployment(minReadySeconds=0))
        await plane.until(settled(plane))
        await patch(plane, image("v2"))
        done = await plane.until(settled(plane))
        assert done["metadata"]["annotations"][REVISION] == "2"
        sets = await sets_by_revision(plane)
        assert [sets[r]["spec"]["replicas"] for r in ("1", "2")] == [0, 3]
        assert meta.condition(done, "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert meta.condition(done, "Available")["status"] == "True"
        await patch(plane, image("v1"))
        done = await plane.until(settled(plane))
        again = await sets_by_revision(plane)
        assert set(again) == {"2", "3"}
        assert again["3"]["metadata"]["uid"] == sets["1"]["metadata"]["uid"]
        pods = await plane.items("pods")
        live = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
        assert [p["spec"]["containers"][0]["image"] for p in live] == ["v1"] * 3

    control_plane(test)


def test_a_bad_template_stops_the_rollout_and_keeps_the_old_pods(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods(ready=lambda pod: pod["spec"]["containers"][0]["image"] != "bad")
        await plane.client.create("deployments.apps", make.deployment(replicas=4))
        await plane.until(settled(plane))
        await patch(plane, image("bad") | {})
        await patch(plane, {"spec": {"progressDeadlineSeconds": 1}})

        async def timed_out():
            found = await plane.client.get("deployments.apps", "web", "default")
            condition = meta.condition(found, "Progressing") or {}
            return found if condition.get("reason") == "ProgressDeadlineExceeded" else None

        found = await plane.until(timed_out)
        assert found["status"]["availableReplicas"] >= 3

    control_plane(test)


def test_a_paused_deployment_does_not_roll_out_until_resumed(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create("deployments.apps", make.deployment(replicas=2))
        await plane.until(settled(plane))
        await patch(plane, {"spec": {"paused": True}})
        await patch(plane, image("v2"))
        await patch(plane, {"spec": {"replicas": 3}})

        async def scaled():
            sets = await plane.items("replicasets.apps")
            return [s["spec"]["replicas"] for s in sets] == [3]

        await plane.until(scaled)
        await patch(plane, {"spec": {"paused": False}})
        done = await plane.until(settled(plane))
        assert done["metadata"]["annotations"][REVISION] == "2"

    control_plane(test)


def test_recreate_ends_all_old_pods_before_the_first_new_one(control_plane, make):
    async def test(plane):
        await plane.manager()
        kubelet = await plane.run_pods()
        overlap = []

        def watch(kind, old, new):
            images = {p["spec"]["containers"][0]["image"] for p in kubelet.informer.list()}
            overlap.append(len(images) > 1)

        await plane.client.create(
            "deployments.apps", make.deployment(strategy={"type": "Recreate"})
        )
        await plane.until(settled(plane))
        kubelet.informer.subscribe(watch)
        await patch(plane, image("v2"))
        await plane.until(settled(plane))
        assert overlap
        assert not any(overlap)

    control_plane(test)


def test_old_revisions_beyond_the_limit_are_removed(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create(
            "deployments.apps", make.deployment(replicas=1, revisionHistoryLimit=1)
        )
        for number in (2, 3, 4):
            await plane.until(settled(plane))
            await patch(plane, image(f"v{number}"))
        await plane.until(settled(plane))

        async def two_left():
            return set(await sets_by_revision(plane)) == {"3", "4"}

        await plane.until(two_left)

    control_plane(test)


def test_scaling_down_takes_pods_that_are_not_ready_first(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods(ready=lambda pod: pod["metadata"]["name"][-1] in "bcdfghjklmn")
        await plane.client.create("deployments.apps", make.deployment(replicas=12))

        async def all_running():
            pods = await plane.items("pods")
            return len(pods) == 12 and all("podIP" in (p.get("status") or {}) for p in pods)

        await plane.until(all_running)
        before = await plane.items("pods")
        ready = {p["metadata"]["name"] for p in before if meta.condition_is(p, "Ready")}
        keep = max(1, len(ready))
        await patch(plane, {"spec": {"replicas": keep}})

        async def shrunk():
            pods = await plane.items("pods")
            return pods if len(pods) == keep else None

        left = {p["metadata"]["name"] for p in await plane.until(shrunk)}
        assert ready <= left

    control_plane(test)


def test_pods_are_adopted_by_label_and_released_when_it_changes(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        orphan = make.pod("orphan")
        orphan["metadata"]["labels"] = {"app": "rs"}
        await plane.client.create("pods", orphan)
        spec = make.deployment("rs", replicas=2)
        spec |= {"kind": "ReplicaSet"}
        await plane.client.create("replicasets.apps", spec)

        async def owned():
            pods = await plane.items("pods", selector="app=rs")
            return len(pods) == 2 and all(meta.controller_of(p) for p in pods)

        await plane.until(owned)
        change = {"metadata": {"labels": {"app": "other"}}}
        await plane.client.patch("pods", "orphan", change, "default")
        await plane.until(owned)

        async def released():
            pod = await plane.client.get("pods", "orphan", "default")
            return meta.controller_of(pod) is None

        await plane.until(released)

    control_plane(test)


def test_endpoints_and_slices_follow_ready_pods(control_plane, make):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        await plane.client.create("services", service)
        await plane.client.create("deployments.apps", make.deployment(replicas=2))
        await plane.until(settled(plane))

        def addresses(count):
            async def check():
                pods = await plane.items("pods")
                want = {
                    p["status"]["podIP"]
                    for p in pods
                    if not p["metadata"].get("deletionTimestamp") and "podIP" in p["status"]
                }
                found = await plane.client.get("endpoints", "web", "default")
                subsets = found.get("subsets") or []
                old = {a["ip"] for s in subsets for a in s.get("addresses") or ()}
                slices = await plane.items(
                    "endpointslices.discovery.k8s.io", selector="kubernetes.io/service-name=web"
                )
                new = {
                    e["addresses"][0]
                    for s in slices
                    for e in s.get("endpoints") or ()
                    if e["conditions"]["ready"]
                }
                return len(want) == count and old == want == new

            return check

        await plane.until(addresses(2))
        await patch(plane, {"spec": {"replicas": 5}})
        await plane.until(addresses(5))
        await plane.client.delete("services", "web", "default")
        await plane.gone("endpoints", "web")

    control_plane(test)


def owner(kind, version, name, **spec):
    """Of pods that are labelled with its name."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": template, **spec},
    }


def test_every_workload_gets_its_pods_with_the_rights_of_its_controllers_account(
    control_plane, make
):
    async def test(plane):
        await plane.manager(own_accounts=True, node_grace_s=3600)
        await plane.scheduler()
        await plane.run_pods(bind=False)
        await plane.client.create("nodes", make.node("n1"))

        def selecting(name):
            return {"selector": {"matchLabels": {"app": name}}}

        job = owner("Job", "batch/v1", "job")
        job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        made = {
            "replicationcontrollers": owner("ReplicationController", "v1", "rc", replicas=1),
            "daemonsets.apps": owner("DaemonSet", "apps/v1", "ds", **selecting("ds")),
            "statefulsets.apps": owner("StatefulSet", "apps/v1", "sts", **selecting("sts")),
            "jobs.batch": job,
        }
        for resource, obj in made.items():
            await plane.client.create(resource, obj)

        async def all_run():
            pods = await plane.items("pods")
            kinds = {meta.controller_of(p)["kind"] for p in pods if "podIP" in p["status"]}
            return kinds == {obj["kind"] for obj in made.values()}

        await plane.until(all_run, 20)
        await plane.client.delete("jobs.batch", "job", "default", propagation="Background")

        async def job_gone():
            return not await plane.items("pods", selector="app=job")

        await plane.until(job_gone)

        async def told():
            found = [await plane.client.get(r, o["metadata"]["name"], "default") for r, o in others]
            return all((obj.get("status") or {}).get("observedGeneration") for obj in found)

        others = [(r, o) for r, o in made.items() if r != "jobs.batch"]
        await plane.until(told)

    control_plane(test)


def test_endpoints_kept_by_hand_are_mirrored_and_those_of_a_selector_are_not(control_plane, make):
    async def test(plane):
        await plane.manager(own_accounts=True)
        metadata = {"name": "by-hand", "namespace": "default"}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
        await plane.client.create("services", service | {"spec": {"ports": [{"port": 80}]}})
        subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 8080}]}
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
        await plane.client.create("endpoints", endpoints | {"subsets": [subset]})

        def addresses(wanted):
            async def check():
                slices = await plane.items("endpointslices.discovery.k8s.io")
                found = [
                    (a, e["conditions"]["ready"])
                    for s in slices
                    if s["metadata"]["labels"]["kubernetes.io/service-name"] == "by-hand"
                    for e in s.get("endpoints") or ()
                    for a in e["addresses"]
                ]
                return sorted(found) == wanted or None

            return check

        await plane.until(addresses([("10.0.0.1", True)]))
        subset["notReadyAddresses"] = [{"ip": "10.0.0.2"}]
        change = {"subsets": [subset]}
        await plane.client.patch("endpoints", "by-hand", change, "default")
        await plane.until(addresses([("10.0.0.1", True), ("10.0.0.2", False)]))
        change = {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}
        await plane.client.patch("endpoints", "by-hand", change, "default")
        await plane.until(addresses([]))

    control_plane(test)
