from __future__ import annotations

from cluster.controllers.job_view import FINALIZER
from cluster.machinery import meta


def make_job(name="work", **spec):
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": pod}, **spec},
    }


async def end_pod(plane, pod, code=0):
    """What a kubelet writes when the only container has ended."""
    phase = "Failed" if code else "Succeeded"
    now = meta.format_time(plane.seams.clock.wall())
    ended = {"exitCode": code, "finishedAt": now, "startedAt": now, "reason": "Ended"}
    container = {
        "name": "c",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    status = {"phase": phase, "containerStatuses": [container], "conditions": []}
    name = pod["metadata"]["name"]
    await plane.client.patch(
        "pods", name, {"status": status}, "default", kind="merge", subresource="status"
    )


def running(plane, count):
    async def check():
        pods = await plane.items("pods", selector="job-name=work")
        found = [p for p in pods if p["status"].get("phase") == "Running"]
        found = [p for p in found if not p["metadata"].get("deletionTimestamp")]
        return (found or True) if len(found) == count else None

    return check


def index_of(pod):
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def condition(plane, kind, name="work"):
    async def check():
        job = await plane.client.get("jobs.batch", name, "default")
        return job if meta.condition_is(job, kind) else None

    return check


def reasons(job):
    return {c["type"]: c.get("reason") for c in job["status"]["conditions"]}


def test_a_job_runs_its_pods_and_counts_each_once(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create("jobs.batch", make_job(completions=5, parallelism=2))
        for left in (5, 3, 1):
            for pod in await plane.until(running(plane, min(left, 2))):
                await end_pod(plane, pod)
        job = await plane.until(condition(plane, "Complete"))
        assert job["status"]["succeeded"] == 5
        assert job["status"]["uncountedTerminatedPods"] == {}
        assert job["status"]["completionTime"]
        assert reasons(job) == {
            "SuccessCriteriaMet": "CompletionsReached",
            "Complete": "CompletionsReached",
        }
        pods = await plane.items("pods")
        assert len(pods) == 5
        assert not any(FINALIZER in p["metadata"].get("finalizers", ()) for p in pods)

    control_plane(test)


def test_a_job_fails_beyond_its_limit_of_failures_and_its_pods_end(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create(
            "jobs.batch", make_job(completions=2, parallelism=2, backoffLimit=0)
        )
        first, _ = await plane.until(running(plane, 2))
        await end_pod(plane, first, code=1)
        job = await plane.until(condition(plane, "Failed"))
        assert reasons(job)["Failed"] == "BackoffLimitExceeded"
        assert job["status"]["failed"] == 2
        await plane.until(running(plane, 0))

    control_plane(test)


def test_an_indexed_job_gives_each_pod_its_index_and_fails_single_indexes(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        spec = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
        await plane.client.create("jobs.batch", make_job(**spec, backoffLimitPerIndex=0))
        pods = sorted(await plane.until(running(plane, 4)), key=index_of)
        assert [index_of(p) for p in pods] == [0, 1, 2, 3]
        assert [p["spec"]["hostname"] for p in pods] == [f"work-{n}" for n in range(4)]
        assert pods[2]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
        for pod in pods:
            await end_pod(plane, pod, code=int(index_of(pod) == 1))
        job = await plane.until(condition(plane, "Failed"))
        assert reasons(job)["Failed"] == "FailedIndexes"
        assert job["status"]["completedIndexes"] == "0,2,3"
        assert job["status"]["failedIndexes"] == "1"

    control_plane(test)


def test_the_first_rule_that_matches_decides_about_a_failed_pod(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        codes = {"operator": "In", "values": [42]}
        policy = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
        await plane.client.create("jobs.batch", make_job(podFailurePolicy=policy))
        (pod,) = await plane.until(running(plane, 1))
        await end_pod(plane, pod, code=42)
        job = await plane.until(condition(plane, "Failed"))
        assert reasons(job)["FailureTarget"] == "PodFailurePolicy"
        assert meta.condition(job, "Failed")["message"] == (
            f"Container c for pod default/{pod['metadata']['name']} failed with exit code 42 "
            "matching FailJob rule at index 0"
        )

    control_plane(test)


def test_a_success_policy_ends_the_job_before_all_indexes_are_done(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
        policy = {"rules": [{"succeededIndexes": "0"}]}
        await plane.client.create("jobs.batch", make_job(**spec, successPolicy=policy))
        pods = await plane.until(running(plane, 3))
        await end_pod(plane, next(p for p in pods if index_of(p) == 0))
        job = await plane.until(condition(plane, "Complete"))
        assert reasons(job)["Complete"] == "SuccessPolicy"
        assert job["status"]["succeeded"] == 1
        await plane.until(running(plane, 0))

    control_plane(test)


def test_a_suspended_job_has_no_pods_and_goes_on_when_resumed(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create("jobs.batch", make_job(suspend=True, parallelism=2))
        await plane.until(condition(plane, "Suspended"))
        assert await plane.items("pods") == []
        change = {"spec": {"suspend": False}}
        await plane.client.patch("jobs.batch", "work", change, "default")
        await plane.until(running(plane, 2))
        change = {"spec": {"suspend": True}}
        await plane.client.patch("jobs.batch", "work", change, "default")
        job = await plane.until(condition(plane, "Suspended"))
        await plane.until(running(plane, 0))
        assert job["status"].get("failed", 0) == 0

    control_plane(test)


def test_a_job_past_its_deadline_fails_and_is_deleted_after_its_time_to_live(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        await plane.client.create(
            "jobs.batch", make_job(activeDeadlineSeconds=1, ttlSecondsAfterFinished=1)
        )
        job = await plane.until(condition(plane, "Failed"))
        assert reasons(job)["Failed"] == "DeadlineExceeded"
        await plane.gone("jobs.batch", "work")
        assert await plane.items("pods") == []

    control_plane(test)


def test_a_cron_job_starts_a_job_and_notes_its_success(control_plane):
    async def test(plane):
        await plane.manager()
        await plane.run_pods()
        cronjob = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "tick", "namespace": "default"},
            "spec": {
                "schedule": "@every 1s",
                "concurrencyPolicy": "Forbid",
                "jobTemplate": {"spec": make_job()["spec"]},
            },
        }
        await plane.client.create("cronjobs.batch", cronjob)

        async def active():
            found = await plane.client.get("cronjobs.batch", "tick", "default")
            return (found.get("status") or {}).get("active")

        (reference,) = await plane.until(active)
        job = await plane.client.get("jobs.batch", reference["name"], "default")
        assert meta.controller_of(job)["name"] == "tick"

        async def started():
            pods = await plane.items("pods", selector=f"job-name={reference['name']}")
            return [p for p in pods if p["status"].get("phase") == "Running"]

        (pod,) = await plane.until(started)
        await end_pod(plane, pod)

        async def succeeded():
            found = await plane.client.get("cronjobs.batch", "tick", "default")
            return found["status"].get("lastSuccessfulTime")

        await plane.until(succeeded)

    control_plane(test)
