"""Every default plugin through the API: nodes are plain objects, nothing runs on them."""

from __future__ import annotations

import asyncio

import pytest

from cluster.machinery import meta

ZONE = "topology.kubernetes.io/zone"
PATIENCE_S = 60.0
"""A busy machine may take long to schedule a pod."""


async def node_of(plane, name):
    async def bound():
        pod = await plane.client.get("pods", name, "default")
        return pod["spec"].get("nodeName")

    return await plane.until(bound, PATIENCE_S)


async def refusal(plane, name):
    async def refused():
        pod = await plane.client.get("pods", name, "default")
        condition = meta.condition(pod, "PodScheduled") or {}
        return condition.get("message") if condition.get("status") == "False" else None

    return await plane.until(refused, PATIENCE_S)


async def add_nodes(plane, make, count, **options):
    for n in range(count):
        labels = {ZONE: f"z{n % 3}", "disk": "ssd" if n == 1 else "hdd"}
        await plane.client.create("nodes", make.node(f"n{n}", labels=labels, **options))


def requires(kind, *terms):
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [*terms]}}


def near(app, key):
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}


def test_each_plugin_decides_through_the_api(control_plane, make):
    """What every pod asks for leaves it one node, or none with a reason."""

    async def test(plane):
        await add_nodes(plane, make, 3)
        tainted, cordoned, big = (make.node(n) for n in ("tainted", "cordoned", "big"))
        tainted["spec"] = {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}
        cordoned["spec"] = {"unschedulable": True}
        big["status"]["allocatable"] |= {"cpu": "64", "example.com/gpu": "4"}
        big["spec"] = {"taints": [{"key": "gpu", "effect": "NoExecute"}]}
        for node in (tainted, cordoned, big):
            await plane.client.create("nodes", node)
        await plane.scheduler()
        pods = {
            "selected": ({"nodeSelector": {"disk": "ssd"}}, "n1"),
            "tolerant": (
                {
                    "tolerations": [{"key": "k", "operator": "Exists"}],
                    "nodeSelector": {"kubernetes.io/hostname": "tainted"},
                },
                "tainted",
            ),
            "anywhere": (
                {
                    "tolerations": [{"operator": "Exists"}],
                    "nodeSelector": {"kubernetes.io/hostname": "cordoned"},
                },
                "cordoned",
            ),
            "large": ({"tolerations": [{"key": "gpu", "operator": "Exists"}], "cpu": "32"}, "big"),
        }
        for name, (spec, _) in pods.items():
            await plane.client.create("pods", make.pod(name, **spec))
        for name, (_, node) in pods.items():
            assert await node_of(plane, name) == node
        nowhere = make.pod("nowhere", nodeSelector={"disk": "none"})
        await plane.client.create("pods", nowhere)
        assert await refusal(plane, "nowhere") == (
            "0/6 nodes are available: 1 node(s) had untolerated taint {gpu: }, "
            "1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable, "
            "3 node(s) didn't match Pod's node affinity/selector. preemption: 0/6 nodes are "
            "available: 6 Preemption is not helpful for scheduling."
        )

    control_plane(test)


def test_pods_are_spread_kept_apart_and_brought_together_across_zones(control_plane, make):
    async def test(plane):
        await add_nodes(plane, make, 6)
        await plane.scheduler()
        spread = {
            "maxSkew": 1,
            "topologyKey": ZONE,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "x"}},
        }
        for n in range(6):
            await plane.client.create("pods", make.pod(f"s{n}", topologySpreadConstraints=[spread]))
        zones = [int((await node_of(plane, f"s{n}"))[1:]) % 3 for n in range(6)]
        assert sorted(zones) == [0, 0, 1, 1, 2, 2]

        host = "kubernetes.io/hostname"
        for n in range(7):
            pod = make.pod(f"a{n}", affinity=requires("podAntiAffinity", near("lonely", host)))
            pod["metadata"]["labels"] = {"app": "lonely"}
            await plane.client.create("pods", pod)
        placed = {await node_of(plane, f"a{n}") for n in range(6)}
        assert len(placed) == 6
        assert (await refusal(plane, "a6")).startswith(
            "0/6 nodes are available: 6 node(s) didn't match pod anti-affinity rules."
        )

        for n in range(3):
            pod = make.pod(f"t{n}", affinity=requires("podAffinity", near("together", ZONE)))
            pod["metadata"]["labels"] = {"app": "together"}
            await plane.client.create("pods", pod)
            zone = int((await node_of(plane, f"t{n}"))[1:]) % 3
            first = int((await node_of(plane, "t0"))[1:]) % 3
            assert zone == first

    control_plane(test)


def test_host_ports_are_given_once_per_node(control_plane, make):
    async def test(plane):
        await add_nodes(plane, make, 2)
        await plane.scheduler()
        for n in range(3):
            pod = make.pod(f"p{n}")
            pod["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 8080}]
            await plane.client.create("pods", pod)
            if n < 2:
                await node_of(plane, f"p{n}")
        assert "2 node(s) didn't have free ports for the requested pod ports" in (
            await refusal(plane, "p2")
        )
        await plane.client.delete("pods", "p0", "default", grace_period_s=0)
        await node_of(plane, "p2")

    control_plane(test)


def test_a_node_that_has_the_image_is_preferred(control_plane, make):
    async def test(plane):
        for n in range(3):
            node = make.node(f"n{n}")
            if n == 2:
                node["status"]["images"] = [
                    {"names": ["registry.example/big:1"], "sizeBytes": 3 * 10**9}
                ]
            await plane.client.create("nodes", node)
        await plane.scheduler()
        pod = make.pod("p")
        pod["spec"]["containers"][0]["image"] = "registry.example/big:1"
        await plane.client.create("pods", pod)
        assert await node_of(plane, "p") == "n2"

    control_plane(test)


def local_volume(name, node):
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "local",
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/tmp"},
            "nodeAffinity": {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
            },
        },
    }


def test_claims_that_wait_get_volumes_where_their_pods_go(control_plane, make):
    async def test(plane):
        await add_nodes(plane, make, 3)
        await plane.manager(controllers=["persistentvolume-binder"])
        await plane.scheduler()
        await plane.client.create(
            "storageclasses.storage.k8s.io",
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": "local"},
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            },
        )
        for n in range(2):
            claim = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"c{n}", "namespace": "default"},
                "spec": {
                    "storageClassName": "local",
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }
            await plane.client.create("persistentvolumeclaims", claim)
            volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": f"c{n}"}}]
            await plane.client.create("pods", make.pod(f"p{n}", volumes=volumes))
        message = await refusal(plane, "p0")
        assert "3 node(s) didn't find available persistent volumes to bind" in message
        for n in (1, 2):
            await plane.client.create("persistentvolumes", local_volume(f"v{n}", f"n{n}"))
        nodes = {await node_of(plane, f"p{n}") for n in range(2)}
        assert nodes == {"n1", "n2"}
        for n in range(2):
            claim = await plane.client.get("persistentvolumeclaims", f"c{n}", "default")
            assert claim["status"]["phase"] == "Bound"
            assert claim["spec"]["volumeName"] == f"v{(await node_of(plane, f'p{n}'))[1:]}"

    control_plane(test)


def bound_pair(name, modes, labels=None, **spec):
    """A claim and a volume that name one another: the volume controller binds them."""
    both = {"storageClassName": "", "accessModes": modes}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**both, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}},
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {**both, "capacity": {"storage": "1Gi"}, **spec},
    }
    return claim, volume


def test_zones_limits_and_single_users_of_volumes_decide(control_plane, make):
    async def test(plane):
        await add_nodes(plane, make, 3)
        await plane.manager(controllers=["persistentvolume-binder"])
        driver = {"name": "csi.example.com", "nodeID": "n", "allocatable": {"count": 1}}
        for n in range(3):
            node = {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "CSINode",
                "metadata": {"name": f"n{n}"},
                "spec": {"drivers": [driver]},
            }
            await plane.client.create("csinodes.storage.k8s.io", node)
        pairs = {
            "zonal": bound_pair("zonal", ["ReadWriteOnce"], {ZONE: "z1"}, hostPath={"path": "/x"}),
            "single": bound_pair("single", ["ReadWriteOncePod"], hostPath={"path": "/y"}),
        }
        for n in range(4):
            csi = {"driver": "csi.example.com", "volumeHandle": f"h{n}"}
            pairs[f"csi-{n}"] = bound_pair(f"csi-{n}", ["ReadWriteOnce"], csi=csi)
        for claim, volume in pairs.values():
            await plane.client.create("persistentvolumes", volume)
            await plane.client.create("persistentvolumeclaims", claim)
        await plane.scheduler()

        async def use(pod, claim):
            volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
            await plane.client.create("pods", make.pod(pod, volumes=volumes))

        await use("p-zonal", "zonal")
        assert await node_of(plane, "p-zonal") == "n1"
        await use("first", "single")
        await node_of(plane, "first")
        await use("second", "single")
        message = await refusal(plane, "second")
        assert "ReadWriteOncePod access mode" in message
        for n in range(4):
            await use(f"csi-{n}", f"csi-{n}")
            if n < 3:
                await node_of(plane, f"csi-{n}")
        assert "3 node(s) exceed max volume count" in await refusal(plane, "csi-3")

    control_plane(test)


def test_claims_of_devices_are_allocated_and_reserved(control_plane, make):
    async def test(plane):
        await add_nodes(plane, make, 2)
        version = "resource.k8s.io/v1"
        expression = 'device.attributes["gpu.example.com"].model == "a100"'
        await plane.client.create(
            "deviceclasses.resource.k8s.io",
            {
                "apiVersion": version,
                "kind": "DeviceClass",
                "metadata": {"name": "gpu"},
                "spec": {"selectors": [{"cel": {"expression": expression}}]},
            },
        )
        for n, model in enumerate(("v100", "a100")):
            device = {"name": "d0", "attributes": {"model": {"string": model}}}
            await plane.client.create(
                "resourceslices.resource.k8s.io",
                {
                    "apiVersion": version,
                    "kind": "ResourceSlice",
                    "metadata": {"name": f"s{n}"},
                    "spec": {
                        "driver": "gpu.example.com",
                        "nodeName": f"n{n}",
                        "pool": {"name": f"n{n}", "generation": 1, "resourceSliceCount": 1},
                        "devices": [device],
                    },
                },
            )
        await plane.scheduler()
        for name in ("c0", "c1"):
            exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
            claim = {
                "apiVersion": version,
                "kind": "ResourceClaim",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}},
            }
            await plane.client.create("resourceclaims.resource.k8s.io", claim)
        first = make.pod("p0", resourceClaims=[{"name": "g", "resourceClaimName": "c0"}])
        await plane.client.create("pods", first)
        assert await node_of(plane, "p0") == "n1"
        claim = await plane.client.get("resourceclaims.resource.k8s.io", "c0", "default")
        [result] = claim["status"]["allocation"]["devices"]["results"]
        assert (result["pool"], result["device"]) == ("n1", "d0")
        assert claim["status"]["reservedFor"][0]["name"] == "p0"
        second = make.pod("p1", resourceClaims=[{"name": "g", "resourceClaimName": "c1"}])
        await plane.client.create("pods", second)
        assert "2 cannot allocate all claims" in await refusal(plane, "p1")

    control_plane(test)


def test_preemption_spares_pods_under_a_budget_and_nominates_the_node(control_plane, make):
    async def test(plane):
        for n in range(2):
            await plane.client.create("nodes", make.node(f"n{n}", cpu="1"))
        await plane.manager(controllers=["disruption"])
        for name, value in (("low", 1), ("high", 1000)):
            await plane.client.create(
                "priorityclasses.scheduling.k8s.io",
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": name},
                    "value": value,
                },
            )
        await plane.scheduler()
        for n, app in enumerate(("kept", "goes")):
            pod = make.pod(
                app,
                cpu="800m",
                priorityClassName="low",
                nodeSelector={"kubernetes.io/hostname": f"n{n}"},
                terminationGracePeriodSeconds=30,
            )
            pod["metadata"]["labels"] = {"app": app}
            await plane.client.create("pods", pod)
            await node_of(plane, app)
        ready = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
        await plane.client.patch(
            "pods", "kept", {"status": ready}, "default", kind="strategic", subresource="status"
        )
        await plane.client.create(
            "poddisruptionbudgets.policy",
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "b", "namespace": "default"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}},
            },
        )

        async def budgeted():
            found = await plane.client.get("poddisruptionbudgets.policy", "b", "default")
            return (found.get("status") or {}).get("currentHealthy") == 1

        await plane.until(budgeted)
        await plane.client.create("pods", make.pod("boss", cpu="600m", priorityClassName="high"))

        async def nominated():
            pod = await plane.client.get("pods", "boss", "default")
            return (pod.get("status") or {}).get("nominatedNodeName")

        assert await plane.until(nominated) == "n1"

        async def going():
            pod = await plane.client.get("pods", "goes", "default")
            return pod if pod["metadata"].get("deletionTimestamp") else None

        victim = await plane.until(going)
        condition = meta.condition(victim, "DisruptionTarget")
        assert (condition["reason"], condition["message"]) == (
            "PreemptionByScheduler",
            "default-scheduler: preempting to accommodate a higher priority pod",
        )
        await plane.client.delete("pods", "goes", "default", grace_period_s=0)
        assert await node_of(plane, "boss") == "n1"
        kept = await plane.client.get("pods", "kept", "default")
        assert not kept["metadata"].get("deletionTimestamp")

    control_plane(test)


@pytest.mark.parametrize("replicas", [24])
def test_packing_uses_fewer_nodes_than_spreading(control_plane, make, replicas, capsys):
    """Two profiles of one scheduler, side by side; the nodes that each used are printed."""

    async def test(plane):
        configuration = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [
                {},
                {
                    "schedulerName": "packing",
                    "pluginConfig": [
                        {
                            "name": "NodeResourcesFit",
                            "args": {"scoringStrategy": {"type": "MostAllocated"}},
                        }
                    ],
                    "plugins": {
                        "multiPoint": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}
                    },
                },
            ],
        }
        for group in ("spreading", "packing"):
            for n in range(12):
                node = make.node(f"{group}-{n}", cpu="4", labels={"group": group})
                await plane.client.create("nodes", node)
        await plane.scheduler(configuration=configuration)
        used = {}
        for group, name in (("spreading", "default-scheduler"), ("packing", "packing")):
            pods = [
                make.pod(
                    f"{group}-{n}", cpu="500m", schedulerName=name, nodeSelector={"group": group}
                )
                for n in range(replicas)
            ]
            await asyncio.gather(*(plane.client.create("pods", pod) for pod in pods))
            used[group] = {await node_of(plane, f"{group}-{n}") for n in range(replicas)}
        with capsys.disabled():
            counts = {group: len(nodes) for group, nodes in used.items()}
            print(f"\nnodes used by {replicas} pods of 500m on nodes of 4 CPUs: {counts}")
        assert len(used["packing"]) == 3
        assert len(used["spreading"]) == 12

    control_plane(test)
