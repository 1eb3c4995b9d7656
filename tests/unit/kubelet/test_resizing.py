"""In-place resize: what is given, enforced and told. The kernel's side: test_kubelet_component."""

from __future__ import annotations

from typing import Any

from cluster.kubelet import admission, resizing
from cluster.kubelet.resizing import Allotment


def pod(cpu: str, memory: str = "64Mi", **container: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory}
    main = {"name": "main", "resources": {"requests": amounts, "limits": amounts}} | container
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [main]}}


def given(of: dict[str, Any]) -> Allotment:
    return Allotment(resizing.asked(of), resizing.asked(of))


def test_another_spelling_of_the_same_amount_is_no_resize() -> None:
    assert not resizing.is_asked(pod("1000m", "65536Ki"), given(pod("1", "64Mi")))
    assert resizing.is_asked(pod("2"), given(pod("1")))


def test_what_is_asked_for_is_given_then_enforced() -> None:
    old, new = pod("1"), pod("2")
    allotment = resizing.give(new, given(old), None)
    assert resizing.as_given(new, allotment) == new
    assert allotment.unenforced() == ["main"]
    assert resizing.conditions(allotment) == [{"type": "PodResizeInProgress", "status": "True"}]
    assert resizing.told("main", allotment) == {
        "resources": old["spec"]["containers"][0]["resources"],
        "allocatedResources": new["spec"]["containers"][0]["resources"]["requests"],
    }
    done = allotment.enforced("main")
    assert done.is_settled
    assert resizing.conditions(done) == []
    assert Allotment.of_record(done.record()) == done


def test_what_cannot_be_given_is_pending_and_the_pod_keeps_what_it_has() -> None:
    old, new = pod("1"), pod("9")
    allotment = resizing.give(new, given(old), ("Deferred", "no room"))
    kept = resizing.as_given(new, allotment)
    assert kept["spec"]["containers"] == old["spec"]["containers"]
    (condition,) = resizing.conditions(allotment)
    assert (condition["type"], condition["reason"]) == ("PodResizePending", "Deferred")
    back = resizing.give(old, allotment, None)
    assert back.is_settled


def test_the_policy_of_each_resource_says_whether_to_start_anew() -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    container = pod("1", resizePolicy=policy)["spec"]["containers"][0]

    def resources(*amounts: str) -> Any:
        return pod(*amounts)["spec"]["containers"][0]["resources"]

    assert not resizing.must_restart(container, resources("2"), resources("1"))
    assert resizing.must_restart(container, resources("1", "1Gi"), resources("1"))


def test_too_much_for_the_node_is_infeasible_and_too_much_now_is_deferred() -> None:
    capacity = {"cpu": 4000, "memory": 1 << 30}
    assert admission.resize_refusal(pod("2"), {"cpu": 2000}, capacity) is None
    refused = admission.resize_refusal(pod("3"), {"cpu": 2000}, capacity)
    assert refused == (
        "Deferred",
        "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000",
    )
    refused = admission.resize_refusal(pod("5"), {}, capacity)
    assert refused is not None
    assert refused[0] == "Infeasible"
