from __future__ import annotations

from cluster.client import EventRecorder
from cluster.client.event_correlation import Correlator, Occurrence

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "ns", "uid": "u"}}
EVENTS = "/api/v1/namespaces/ns/events/"


def stored(api):
    return [o for p, o in api.objects.items() if p.startswith(EVENTS)]


def test_equal_events_are_counted_on_one_object(with_api):
    async def test(api, http, client):
        recorder = EventRecorder(client, client.seams, "tester", "here")
        recorder.start()
        for _ in range(3):
            recorder.event(POD, "Normal", "Pulled", "pulled it")
        recorder.event(POD, "Normal", "Started", "started it")
        await recorder.flush()
        assert sorted((e["reason"], e["count"]) for e in stored(api)) == [
            ("Pulled", 3),
            ("Started", 1),
        ]
        assert stored(api)[0]["source"] == {"component": "tester", "host": "here"}
        assert stored(api)[0]["involvedObject"]["name"] == "a"
        await recorder.stop()

    with_api(test)


def test_a_refused_event_does_not_stop_the_next(with_api):
    async def test(api, http, client):
        recorder = EventRecorder(client, client.seams, "tester")
        recorder.start()
        api.fail = lambda method, path: 403
        recorder.event(POD, "Normal", "One", "1")
        await recorder.flush()
        api.fail = None
        recorder.event(POD, "Normal", "Two", "2")
        await recorder.flush()
        assert [e["reason"] for e in stored(api)] == ["Two"]
        assert recorder.dropped == 1
        await recorder.stop()

    with_api(test)


def test_a_full_queue_drops_events_instead_of_blocking(with_api):
    async def test(api, http, client):
        recorder = EventRecorder(client, client.seams, "tester")
        for n in range(recorder.limit + 5):
            recorder.event(POD, "Normal", "R", str(n))
        assert recorder.dropped == 5

    with_api(test)


def test_an_event_that_expired_is_written_anew(with_api):
    async def test(api, http, client):
        recorder = EventRecorder(client, client.seams, "tester")
        recorder.start()
        recorder.event(POD, "Normal", "R", "m")
        await recorder.flush()
        for path in [p for p in api.objects if p.startswith(EVENTS)]:
            api.remove(path)
        recorder.event(POD, "Normal", "R", "m")
        await recorder.flush()
        assert [e["count"] for e in stored(api)] == [1]
        await recorder.stop()

    with_api(test)


def occurrence(message):
    return Occurrence((("name", "a"),), "Normal", "R", message)


def test_more_than_ten_similar_messages_become_one_event():
    correlator = Correlator()
    series = [correlator.observe(occurrence(f"m{n}"), 0.0) for n in range(14)]
    assert [s.count for s in series[:10]] == [1] * 10
    assert series[10] is series[13]
    assert series[13].count == 4
    assert series[13].occurrence.message == "(combined from similar events): m13"


def test_an_object_with_too_many_events_is_held_back_and_recovers_slowly():
    correlator = Correlator()
    results = [correlator.observe(occurrence("same"), 0.0) for _ in range(30)]
    assert [r is None for r in results] == [False] * 25 + [True] * 5
    assert correlator.observe(occurrence("same"), 301.0) is not None
