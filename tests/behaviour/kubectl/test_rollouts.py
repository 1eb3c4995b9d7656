"""rollout, scale, wait: what changes over time, and how kubectl follows it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest


@pytest.fixture
def web(kubectl: Any) -> str:
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=2")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    return "deployment/web"


def images(kubectl: Any) -> str:
    return str(kubectl("get", "deployment", "web", "-o=jsonpath={..image}"))


def test_status_follows_by_a_list_and_a_watch(kubectl: Any, web: str) -> None:
    kubectl("set", "image", web, "nginx=nginx:2")
    said = kubectl("rollout", "status", web, "--timeout=30s")
    assert said.endswith('deployment "web" successfully rolled out\n')
    listed = [s for s in kubectl.sent if s.path.endswith("/deployments")]
    assert listed
    assert all(s.query["fieldSelector"] == ["metadata.name=web"] for s in listed)
    watched = [s for s in listed if s.query.get("watch") == ["true"]]
    assert all(s.query["allowWatchBookmarks"] == ["true"] for s in watched)
    said = kubectl("rollout", "status", web, "--watch=false", "--revision=1", ok=False)
    assert "desired revision (1) is different from the running revision (2)" in said


def test_history_undo_and_what_a_revision_held(kubectl: Any, web: str) -> None:
    kubectl("annotate", web, "kubernetes.io/change-cause=first")
    kubectl("set", "image", web, "nginx=nginx:2")
    kubectl("annotate", web, "kubernetes.io/change-cause=second")
    kubectl("rollout", "status", web, "--timeout=30s")
    lines = kubectl("rollout", "history", web).splitlines()
    assert lines[1].split() == ["REVISION", "CHANGE-CAUSE"]
    assert [line.split() for line in lines[2:4]] == [["1", "first"], ["2", "second"]]
    assert "Image:\tnginx:1" in kubectl("rollout", "history", web, "--revision=1")
    dry = kubectl("rollout", "undo", web, "--dry-run=server")
    assert dry == "deployment.apps/web rolled back (server dry run)\n"
    assert images(kubectl) == "nginx:2"
    assert kubectl("rollout", "undo", web, "--to-revision=1") == "deployment.apps/web rolled back\n"
    assert kubectl.request("PATCH").content_type == "application/json-patch+json"
    assert images(kubectl) == "nginx:1"
    kubectl("rollout", "status", web, "--timeout=30s")
    numbers = [line.split()[0] for line in kubectl("rollout", "history", web).splitlines()[2:4]]
    assert numbers == ["2", "3"]
    said = kubectl("rollout", "undo", web, "--to-revision=9", ok=False)
    assert "unable to find specified revision 9 in history" in said


def test_pause_resume_and_restart(kubectl: Any, web: str, wire: Any) -> None:
    kubectl("set", "image", web, "nginx=nginx:2")
    kubectl("rollout", "status", web, "--timeout=30s")
    assert kubectl("rollout", "pause", web) == "deployment.apps/web paused\n"
    assert kubectl.request("PATCH").content_type == wire.strategic
    assert "is already paused" in kubectl("rollout", "pause", web, ok=False)
    said = kubectl("rollout", "undo", web, ok=False)
    assert "you cannot rollback a paused deployment; resume it first" in said
    assert kubectl("rollout", "resume", web) == "deployment.apps/web resumed\n"
    assert "is not paused" in kubectl("rollout", "resume", web, ok=False)
    assert kubectl("rollout", "restart", web) == "deployment.apps/web restarted\n"
    template = kubectl.get("deployment", "web")["spec"]["template"]["metadata"]
    assert "kubectl.kubernetes.io/restartedAt" in template["annotations"]
    kubectl("rollout", "status", web, "--timeout=30s")


def test_scale_with_preconditions(kubectl: Any, web: str, wire: Any) -> None:
    assert kubectl("scale", web, "--replicas=3") == "deployment.apps/web scaled\n"
    patch = kubectl.request("PATCH", "/deployments/web/scale")
    assert (patch.content_type, patch.json) == (wire.merge, {"spec": {"replicas": 3}})
    assert kubectl("scale", web, "--replicas=1", "--current-replicas=3").endswith("scaled\n")
    said = kubectl("scale", web, "--replicas=5", "--current-replicas=3", ok=False)
    assert "Expected replicas to be 3, was 1" in said
    said = kubectl("scale", web, "--replicas=5", "--resource-version=1", ok=False)
    assert "Expected resource version to be 1" in said
    row = kubectl("get", web, "--subresource=scale").splitlines()
    assert row[0].split() == ["NAME", "DESIRED", "AVAILABLE", "AGE"]
    assert row[1].split()[:2] == ["web", "1"]
    kubectl("scale", "--replicas=0", "-l", "app=web", "deployment")
    assert kubectl.get("deployment", "web")["spec"]["replicas"] == 0


def test_wait_for_conditions_fields_creation_and_deletion(kubectl: Any, web: str) -> None:
    kubectl.until(web, "--for=condition=Available")
    listed = [s for s in kubectl.sent if s.path.endswith("/deployments")]
    assert listed[0].query["fieldSelector"] == ["metadata.name=web"]
    kubectl.until(web, "--for=jsonpath={.status.readyReplicas}=2")
    kubectl.until("pod", "-l", "app=web", "--for=condition=Ready")
    said = kubectl("wait", web, "--for=condition=Nonsense", "--timeout=1s", ok=False)
    assert "timed out waiting for the condition on deployments/web" in said
    waiting = ["wait", "configmap/later", "--for=create", "--timeout=30s", "-n", kubectl.namespace]
    with subprocess.Popen(
        kubectl.cluster.command(*waiting), stdout=subprocess.PIPE, text=True
    ) as process:
        kubectl.cluster.until_sent(lambda s: s.path.endswith("/configmaps/later"))
        kubectl("create", "configmap", "later")
        assert process.communicate(timeout=30)[0] == "configmap/later condition met\n"
    waiting = ["wait", "configmap/later", "--for=delete", "--timeout=30s", "-n", kubectl.namespace]
    with subprocess.Popen(
        kubectl.cluster.command(*waiting), stdout=subprocess.PIPE, text=True
    ) as process:
        kubectl.cluster.until_sent(lambda s: s.query.get("watch") and "later" in str(s.query))
        kubectl("delete", "configmap", "later")
        assert "condition met" in process.communicate(timeout=30)[0]
    assert kubectl("wait", "configmap/later", "--for=delete", "--timeout=1s") == ""


def test_a_job_is_made_from_a_cron_job_and_waited_for(kubectl: Any) -> None:
    kubectl("create", "cronjob", "yearly", "--image=i", "--schedule=0 0 1 1 *")
    kubectl("create", "job", "now", "--from=cronjob/yearly")
    owner = kubectl.get("job", "now")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("CronJob", "yearly")
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    success = {**condition, "type": "SuccessCriteriaMet"}
    status = {
        "status": {
            "conditions": [success, condition], "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:00:01Z", "succeeded": 1,
        }
    }  # fmt: skip
    kubectl("patch", "job", "now", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    kubectl.until("job/now", "--for=condition=complete")
    assert kubectl("get", "job", "now").splitlines()[1].split()[1:3] == ["Complete", "1/1"]
