from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cluster.controllers import job_indexes, job_status
from cluster.controllers.cronjob import beyond_history, due_at_s, job_of
from cluster.controllers.job import may_have
from cluster.controllers.job_policies import failure_verdict, success_message
from cluster.controllers.job_view import FINALIZER, View, backoff_s
from cluster.machinery import cron
from cluster.machinery.cron_times import last_between, next_after

BERLIN = ZoneInfo("Europe/Berlin")
NOW_S = 1_700_000_000.0


def at(text):
    return datetime.fromisoformat(text).timestamp()


def when(at_s, zone=UTC):
    return datetime.fromtimestamp(at_s, zone).isoformat()


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), ""), ((1,), "1"), ((1, 2), "1,2"), ((0, 1, 2, 4, 6, 7), "0-2,4,6,7")],
)
def test_indexes_are_written_as_intervals_and_read_back(numbers, text):
    assert job_indexes.text_of(numbers) == text
    assert job_indexes.parse(text, 100) == set(numbers)


def test_indexes_beyond_the_completions_are_left_out():
    assert job_indexes.parse("1-5,9", 4) == {1, 2, 3}


def test_the_wait_doubles_up_to_ten_minutes():
    assert [backoff_s(n) for n in (0, 1, 2, 3, 7, 50)] == [0, 10, 20, 40, 600, 600]


def make_job(status=None, **spec):
    spec = {"parallelism": 2, "completions": 4, "template": {"spec": {}}, **spec}
    return {"metadata": {"name": "j", "uid": "j"}, "spec": spec, "status": status or {}}


def make_pod(uid, phase="Running", index=None, tracked=True, **metadata):
    annotations = {} if index is None else {job_indexes.INDEX: str(index)}
    return {
        "metadata": {
            "name": uid,
            "namespace": "d",
            "uid": uid,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations,
            "finalizers": [FINALIZER] if tracked else [],
            **metadata,
        },
        "status": {"phase": phase},
    }


def test_a_pod_is_counted_once_wherever_the_controller_stops():
    """Each step's result is what the next begins from; repeating a step changes nothing."""
    pods = [make_pod("a", "Succeeded"), make_pod("b")]
    view = View(make_job(), pods, set())
    status = job_status.begin(view.job, NOW_S)
    release, complete = job_status.count(view, status, None)
    assert ([p["metadata"]["uid"] for p in release], complete) == (["a"], True)
    assert status["uncountedTerminatedPods"] == {"succeeded": ["a"]}
    again = View(make_job(status), pods, set())
    assert (again.succeeded, again.new_succeeded) == (1, [])
    repeated = job_status.begin(again.job, NOW_S)
    job_status.settle(repeated, {"a", "b"})
    job_status.count(again, repeated, None)
    assert repeated == status
    assert job_status.settle(repeated, {"b"})
    assert (repeated["succeeded"], repeated["uncountedTerminatedPods"]) == (1, {})
    released = View(make_job(repeated), [make_pod("a", "Succeeded", tracked=False)], set())
    assert released.succeeded == 1


def test_pods_to_run_are_what_is_left_of_the_completions():
    done = View(make_job({"succeeded": 3}), [], set())
    assert (done.wanted, done.missing) == (1, 1)
    queue = View(make_job({"succeeded": 1}, completions=None), [make_pod("a")], set())
    assert (queue.wanted, queue.is_complete(1), queue.is_complete(0)) == (1, False, True)


def test_a_second_pod_of_an_index_goes():
    pods = [make_pod("a", index=0), make_pod("b", index=0), make_pod("c", index=1)]
    view = View(make_job(completionMode="Indexed"), pods, set())
    assert [p["metadata"]["uid"] for p in view.surplus(NOW_S)] == ["b"]
    assert view.free_indexes() == [2, 3]


def test_a_pod_being_deleted_is_replaced_at_once_or_when_it_has_failed():
    pod = make_pod("a", deletionTimestamp="2026-01-01T00:00:01Z")
    early = View(make_job(completions=1), [pod], set())
    late = View(make_job(completions=1, podReplacementPolicy="Failed"), [pod], set())
    assert (early.failed, early.missing) == (1, 1)
    assert (late.failed, late.missing) == (0, 0)


def test_failures_that_a_rule_ignores_do_not_count():
    pattern = {"type": "DisruptionTarget", "status": "True"}
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [pattern]}]}
    job = make_job(podFailurePolicy=policy, backoffLimit=0)
    pod = make_pod("a", "Failed")
    assert failure_verdict(job, pod).counts
    pod["status"]["conditions"] = [pattern]
    assert not failure_verdict(job, pod).counts
    assert View(job, [pod], set()).end(NOW_S) is None


def test_an_index_keeps_its_last_failed_pod_until_it_is_replaced():
    spec = {"completionMode": "Indexed", "backoffLimitPerIndex": 1, "backoffLimit": 2**31 - 1}
    failed = make_pod("a", "Failed", index=0)
    view = View(make_job(**spec), [failed], set())
    assert job_status.count(view, {}, None)[0] == []
    assert view.index_annotations(0) == {job_indexes.FAILURES: "1"}
    new = make_pod("b", index=0)
    new["metadata"]["annotations"][job_indexes.FAILURES] = "1"
    view = View(make_job(**spec), [failed, new], set())
    assert job_status.count(view, {}, None)[0] == [failed]
    new["status"]["phase"] = "Failed"
    view = View(make_job(**spec), [failed, new], set())
    assert view.failed_indexes == {0}


def test_a_pod_of_an_earlier_job_of_the_same_name_is_not_the_jobs():
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "controller": True}
    assert may_have(make_job(), make_pod("a", ownerReferences=[{**reference, "uid": "j"}]))
    assert not may_have(make_job(), make_pod("a", ownerReferences=[{**reference, "uid": "i"}]))
    assert may_have(make_job(), make_pod("a"))


def test_success_policies_ask_for_indexes_a_number_or_both():
    rules = [{"succeededIndexes": "0-2", "succeededCount": 2}, {"succeededCount": 3}]
    job = make_job(successPolicy={"rules": rules}, completions=6)
    assert success_message(job, {0, 4}) == ""
    assert success_message(job, {0, 2}) == "Matched rules at index 0"
    assert success_message(job, {3, 4, 5}) == "Matched rules at index 1"


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/5 * * * *", "2026-01-01T00:00:00+00:00", "2026-01-01T00:05:00+00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ("0 12 13 * 5", "2026-01-01T12:00:00+00:00", "2026-01-02T12:00:00+00:00"),
        ("0 12 * * 0", "2026-01-01T12:00:00+00:00", "2026-01-04T12:00:00+00:00"),
        ("@every 90s", "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:30+00:00"),
    ],
)
def test_the_next_time_of_a_schedule(schedule, after, expected):
    found = next_after(cron.parse(schedule), at(after))
    assert when(found) == expected
    assert last_between(cron.parse(schedule), at(after), found) == found
    assert last_between(cron.parse(schedule), at(after), found - 1) is None


def test_a_day_that_never_comes_has_no_time():
    assert next_after(cron.parse("0 0 30 2 *"), NOW_S) is None


def test_a_skipped_local_time_does_not_happen_and_a_repeated_one_happens_twice():
    daily = cron.parse("30 2 * * *")
    spring = next_after(daily, at("2026-03-28T12:00:00+00:00"), BERLIN)
    assert when(spring, BERLIN) == "2026-03-30T02:30:00+02:00"
    first = next_after(daily, at("2026-10-24T12:00:00+00:00"), BERLIN)
    second = next_after(daily, first, BERLIN)
    assert [when(t) for t in (first, second)] == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-25T01:30:00+00:00",
    ]


def make_cronjob(last=None, **spec):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": "c",
            "namespace": "d",
            "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:30Z",
        },
        "spec": {"schedule": "* * * * *", "jobTemplate": template, **spec},
        "status": {"lastScheduleTime": last} if last else {},
    }


def test_of_many_missed_times_only_the_last_is_due_and_not_beyond_the_deadline():
    now_s = at("2026-01-01T02:00:40+00:00")
    minutely = cron.parse("* * * * *")
    assert when(due_at_s(make_cronjob(), minutely, UTC, now_s)) == "2026-01-01T02:00:00+00:00"
    started = make_cronjob("2026-01-01T02:00:00Z")
    assert due_at_s(started, minutely, UTC, now_s) is None
    strict = make_cronjob(startingDeadlineSeconds=30)
    assert due_at_s(strict, minutely, UTC, now_s) is None


def test_the_job_of_a_time_is_named_after_it():
    job = job_of(make_cronjob(), at("2026-01-01T02:00:00+00:00"), BERLIN)
    assert job["metadata"]["name"] == "c-29453880"
    annotations = job["metadata"]["annotations"]
    assert annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] == (
        "2026-01-01T03:00:00+01:00"
    )


def test_the_oldest_ended_jobs_beyond_the_limits_go():
    def ended(name, kind):
        status = {"conditions": [{"type": kind, "status": "True"}], "startTime": name}
        return {"metadata": {"name": name}, "status": status}

    jobs = [ended(str(n), "Complete") for n in range(5)] + [ended("f1", "Failed")]
    found = beyond_history(make_cronjob(failedJobsHistoryLimit=0), jobs)
    assert [job["metadata"]["name"] for job in found] == ["0", "1", "f1"]
