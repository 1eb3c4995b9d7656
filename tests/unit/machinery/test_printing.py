"""What kubectl prints, decided by the server."""

import pytest

from cluster.machinery import printing, resources
from cluster.machinery.printing import duration

NOW = 1_800_000_000.0
EARLIER = "2027-01-15T07:58:00Z"  # two minutes before


def pod(*, spec=None, meta=None, **status):
    return {
        "metadata": {"name": "p", "creationTimestamp": EARLIER, **(meta or {})},
        "spec": {"containers": [{"name": "a"}], **(spec or {})},
        "status": status,
    }


def container(name="a", *, state, ready=False, restarts=0, **more):
    return {"name": name, "state": state, "ready": ready, "restartCount": restarts, **more}


RUNNING = {"running": {}}
CASES = {
    "a new pod": (pod(phase="Pending"), ["0/1", "Pending", "0"]),
    "being created": (
        pod(phase="Pending",
            containerStatuses=[container(state={"waiting": {"reason": "ContainerCreating"}})]),
        ["0/1", "ContainerCreating", "0"],
    ),
    "running and ready": (
        pod(phase="Running", containerStatuses=[container(state=RUNNING, ready=True)]),
        ["1/1", "Running", "0"],
    ),
    "crashing": (
        pod(phase="Running", containerStatuses=[container(
            state={"waiting": {"reason": "CrashLoopBackOff"}}, restarts=3,
            lastState={"terminated": {"finishedAt": "2027-01-15T07:59:55Z"}})]),
        ["0/1", "CrashLoopBackOff", "3 (5s ago)"],
    ),
    "completed": (
        pod(phase="Succeeded", containerStatuses=[
            container(state={"terminated": {"reason": "Completed", "exitCode": 0}})]),
        ["0/1", "Completed", "0"],
    ),
    "ended by a signal": (
        pod(phase="Failed", containerStatuses=[container(state={"terminated": {"signal": 9}})]),
        ["0/1", "Signal:9", "0"],
    ),
    "initializing": (
        pod(spec={"initContainers": [{"name": "i"}, {"name": "j"}]}, phase="Pending",
            initContainerStatuses=[
                container("i", state={"terminated": {"exitCode": 0}}),
                container("j", state=RUNNING)]),
        ["0/1", "Init:1/2", "0"],
    ),
    "failing to initialize": (
        pod(spec={"initContainers": [{"name": "i"}]}, phase="Pending", initContainerStatuses=[
            container("i", state={"waiting": {"reason": "CrashLoopBackOff"}}, restarts=2)]),
        ["0/1", "Init:CrashLoopBackOff", "2"],
    ),
    "with a sidecar": (
        pod(spec={"initContainers": [{"name": "s", "restartPolicy": "Always"}]}, phase="Running",
            initContainerStatuses=[container("s", state=RUNNING, ready=True, started=True)],
            containerStatuses=[container(state=RUNNING, ready=True)]),
        ["2/2", "Running", "0"],
    ),
    "terminating": (
        pod(meta={"deletionTimestamp": EARLIER}, phase="Running",
            containerStatuses=[container(state=RUNNING, ready=True)]),
        ["1/1", "Terminating", "0"],
    ),
    "gated": (
        pod(phase="Pending", conditions=[
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
        ["0/1", "SchedulingGated", "0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_status_of_a_pod_is_the_word_that_upstream_prints(case):
    obj, expected = CASES[case]
    assert printing.pods.row(obj, NOW)[1:4] == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (192, "3m12s"), (600, "10m"),
        (3 * 3600, "3h"), (5 * 3600 + 180, "5h3m"), (30 * 3600, "30h"), (98 * 3600, "4d2h"),
        (90 * 86400, "90d"), (3 * 365 * 86400 + 864000, "3y10d"), (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_ages_have_two_units_at_most(seconds, text):
    assert duration.human(seconds) == text


def test_a_table_has_a_cell_for_each_column():
    table = printing.table(resources.find("pods"), [CASES["running and ready"][0]], NOW)
    (row,) = table["rows"]
    assert len(row["cells"]) == len(table["columnDefinitions"])
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert [c["name"] for c in table["columnDefinitions"] if c["priority"] == 0] == [
        "Name", "Ready", "Status", "Restarts", "Age",
    ]  # fmt: skip


def test_a_deployment_shows_ready_of_wanted():
    obj = {
        "metadata": {"name": "web", "creationTimestamp": EARLIER},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        },
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
    }
    table = printing.table(resources.find("deployments.apps"), [obj], NOW)
    assert table["rows"][0]["cells"] == ["web", "2/3", 3, 2, "2m", "c", "i:1", "app=web"]


def test_a_service_shows_its_ports_and_addresses():
    obj = {
        "metadata": {"name": "web", "creationTimestamp": EARLIER},
        "spec": {
            "type": "NodePort", "clusterIP": "10.0.0.1", "selector": {"b": "2", "a": "1"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
        },
    }  # fmt: skip
    assert printing.PRINTERS["services"].row(obj, NOW) == [
        "web", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP", "2m", "a=1,b=2",
    ]  # fmt: skip


def test_a_kind_without_a_printer_shows_name_and_creation():
    resource = resources.find("limitranges")
    obj = {"metadata": {"name": "high", "creationTimestamp": EARLIER}}
    table = printing.table(resource, [obj], NOW, include_object="None")
    assert table["rows"] == [{"cells": ["high", EARLIER]}]
