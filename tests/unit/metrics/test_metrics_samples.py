"""From what kubelets tell to what nodes and pods use."""

from __future__ import annotations

import pytest

from cluster.metrics import exposition, kinds
from cluster.metrics.samples import Measured, Point, Samples, measured, used

TEXT = """
# HELP node_cpu_usage_seconds_total Cumulative cpu time
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 100.5 1000000
node_memory_working_set_bytes 2048000 1000000
container_cpu_usage_seconds_total{container="c",namespace="n",pod="p"} 1.5 1000000
container_memory_working_set_bytes{container="c",namespace="n",pod="p"} 1.048576e+06 1000000
container_start_time_seconds{container="c",namespace="n",pod="p"} 400 1000000
container_cpu_usage_seconds_total{container="half",namespace="n",pod="p"} 1
nonsense{ 1
other_metric NaN
"""


def test_lines_of_prometheus_text_are_read() -> None:
    text = 'a{x="1\\"2\\\\3\\n4",y="z"} 1e3 5000\nb +Inf\n'
    first, second = exposition.parse(text)
    assert first == ("a", {"x": '1"2\\3\n4', "y": "z"}, 1000.0, 5.0)
    assert (second.value, second.at_s) == (float("inf"), 0.0)


def test_nodes_and_containers_are_found_in_what_a_kubelet_tells() -> None:
    found = measured(exposition.parse(TEXT), 7.0)
    assert found.node == Point(1000.0, 100.5, 2048000.0)
    assert found.containers == {("n", "p"): {"c": Point(1000.0, 1.5, 1048576.0, 400.0)}}


def test_usage_is_processor_time_over_the_time_between_two_points() -> None:
    found = used(Point(110.0, 8.0, 5.0, 1.0), Point(100.0, 3.0, 4.0, 1.0))
    assert found is not None
    assert (found.cores, found.memory_bytes, found.window_s) == (0.5, 5, 10.0)


@pytest.mark.parametrize(
    ("last", "before"),
    [
        (Point(100.0, 1.0, 1.0), None),  # nothing to compare with
        (Point(100.0, 1.0, 1.0), Point(99.9, 0.0, 1.0)),  # too short
        (Point(1000.0, 1.0, 1.0, 100.0), None),  # old, seen once
    ],
)
def test_too_little_is_no_usage(last: Point, before: Point | None) -> None:
    assert used(last, before) is None


def test_a_container_that_has_just_started_is_measured_from_its_start() -> None:
    restarted = used(Point(110.0, 1.0, 1.0, 105.0), Point(100.0, 9.0, 1.0, 50.0))
    assert restarted is not None
    assert (restarted.cores, restarted.window_s) == (0.2, 5.0)


def at(at_s: float, cpu_s: float, **containers: float) -> Measured:
    points = {name: Point(at_s, cpu, 1024.0, 1.0) for name, cpu in containers.items()}
    return Measured(Point(at_s, cpu_s, 1.0), {("n", "p"): points} if points else {})


def test_the_last_two_measurements_of_a_node_count() -> None:
    samples = Samples()
    samples.put("a", at(1000.0, 10.0, c=1.0))
    assert samples.node("a", 1001.0) is None
    samples.put("a", at(1000.2, 99.0))  # the kubelet's own copy: not a new one
    samples.put("a", at(1010.0, 15.0, c=2.0))
    node = samples.node("a", 1011.0)
    assert node is not None
    assert node.cores == 0.5
    ((key, found),) = samples.pods(1011.0)
    assert (key, found["c"].cores) == (("n", "p"), 0.1)


def test_a_pod_of_which_a_container_is_not_known_is_left_out() -> None:
    samples = Samples()
    samples.put("a", at(1000.0, 10.0, c=1.0))
    samples.put("a", at(1010.0, 15.0, c=2.0, new=1.0))
    assert list(samples.pods(1011.0)) == []


def test_what_is_old_or_of_a_node_that_is_gone_is_told_no_more() -> None:
    samples = Samples()
    samples.put("a", at(1000.0, 10.0, c=1.0))
    samples.put("a", at(1010.0, 15.0, c=2.0))
    assert samples.node("a", 2000.0) is None
    assert list(samples.pods(2000.0)) == []
    samples.keep(["b"])
    assert samples.node("a", 1011.0) is None


def test_objects_tell_usage_as_upstreams_do() -> None:
    one = used(Point(110.0, 5.25, 3 << 20, 1.0), Point(100.0, 0.0, 0, 1.0))
    assert one is not None
    about = {"name": "p", "namespace": "n", "labels": {"a": "b"}, "uid": "u"}
    found = kinds.pod(about, {"c": one})
    assert found["containers"] == [
        {"name": "c", "usage": {"cpu": "525000000n", "memory": "3072Ki"}}
    ]
    assert (found["window"], found["timestamp"]) == ("10.000s", "1970-01-01T00:01:50Z")
    assert found["metadata"]["labels"] == {"a": "b"}
    row = kinds.PRINTERS["pods"].row(found, 0.0)
    assert row == ["p", "525m", "3Mi", "10.000s"]
