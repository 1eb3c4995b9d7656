from __future__ import annotations

import asyncio

from cluster.client import Informer

PODS = "/api/v1/namespaces/ns/pods"


def pod(name, **labels):
    return {"metadata": {"name": name, "namespace": "ns", "labels": labels}}


class Seen:
    """Collects what a handler is told, and waits for it."""

    def __init__(self, informer):
        self.changes = []
        self._event = asyncio.Event()
        informer.subscribe(self._take)

    def _take(self, kind, old, new):
        self.changes.append((kind, (new or old)["metadata"]["name"]))
        self._event.set()

    async def until(self, change):
        async with asyncio.timeout(5):
            while change not in self.changes:
                self._event.clear()
                await self._event.wait()


def test_an_informer_lists_and_then_follows(with_api):
    async def test(api, http, client):
        api.put(f"{PODS}/a", pod("a", app="x"))
        by_app = {"app": lambda o: [o["metadata"]["labels"].get("app", "")]}
        informer = Informer(client, "pods", "ns", indexers=by_app)
        seen = Seen(informer)
        informer.start()
        await informer.synced()
        assert informer.get("ns/a")["kind"] == "Pod"
        api.put(f"{PODS}/b", pod("b", app="x"))
        await seen.until(("add", "b"))
        assert [o["metadata"]["name"] for o in informer.by_index("app", "x")] == ["a", "b"]
        api.put(f"{PODS}/a", pod("a", app="y"))
        await seen.until(("update", "a"))
        assert [o["metadata"]["name"] for o in informer.by_index("app", "x")] == ["b"]
        api.remove(f"{PODS}/b")
        await seen.until(("delete", "b"))
        assert informer.get("ns/b") is None
        assert informer.by_index("app", "x") == []
        await informer.stop()

    with_api(test)


def test_a_broken_watch_resumes_without_a_new_list(with_api):
    async def test(api, http, client):
        informer = Informer(client, "pods", "ns")
        seen = Seen(informer)
        informer.start()
        await informer.synced()
        api.put(f"{PODS}/a", pod("a"))
        await seen.until(("add", "a"))
        for task in list(http.tasks):
            task.cancel()
        api.put(f"{PODS}/b", pod("b"))
        await seen.until(("add", "b"))
        assert informer.reflector.relists == 1
        assert seen.changes == [("add", "a"), ("add", "b")]
        await informer.stop()

    with_api(test)


def test_an_expired_version_leads_to_a_new_list_that_shows_what_was_missed(with_api):
    async def test(api, http, client):
        api.put(f"{PODS}/old", pod("old"))
        informer = Informer(client, "pods", "ns")
        seen = Seen(informer)
        informer.start()
        await informer.synced()
        while not api.watches:
            await asyncio.sleep(0)
        api.fail = lambda method, path: 503
        for task in list(http.tasks):
            task.cancel()
        api.remove(f"{PODS}/old")
        api.put(f"{PODS}/new", pod("new"))
        api.compacted = api.version
        api.events.clear()
        api.fail = None
        await seen.until(("add", "new"))
        await seen.until(("delete", "old"))
        assert informer.reflector.relists == 2
        await informer.stop()

    with_api(test)


def test_a_later_subscriber_is_told_of_what_is_known(with_api):
    async def test(api, http, client):
        api.put(f"{PODS}/a", pod("a"))
        informer = Informer(client, "pods", "ns")
        informer.start()
        await informer.synced()
        assert Seen(informer).changes == [("add", "a")]
        await informer.stop()

    with_api(test)


def test_an_object_made_again_under_its_name_is_a_deletion_and_an_addition(with_api):
    async def test(api, http, client):
        informer = Informer(client, "pods", "ns")
        informer._replace([_versioned("a", "1", "u1")])
        seen = Seen(informer)
        informer._replace([_versioned("a", "5", "u2")])
        assert seen.changes == [("add", "a"), ("delete", "a"), ("add", "a")]

    with_api(test)


def _versioned(name, version, uid):
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": version, "uid": uid}}
