from __future__ import annotations

import asyncio
import contextlib
import copy

import pytest

from cluster.client import LeaderElector

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/job"


class Candidate:
    def __init__(self, client, identity, lease_s=1.0, renew_s=0.6, retry_s=0.05):
        self.elector = LeaderElector(
            client, client.seams, "job", identity, lease_s, renew_s, retry_s
        )
        self.started, self.ended = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self.elector.run(self.lead))

    async def lead(self):
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def test_one_leads_and_the_other_takes_over_as_soon_as_it_stops(with_api):
    async def test(api, http, client):
        first = Candidate(client, "one", lease_s=60, renew_s=40)
        async with asyncio.timeout(5):
            await first.started.wait()
        second = Candidate(client, "two", lease_s=60, renew_s=40)
        await asyncio.sleep(0.2)
        assert not second.started.is_set()
        await first.stop()
        assert first.ended.is_set()
        async with asyncio.timeout(5):
            await second.started.wait()
        spec = api.objects[LEASE]["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)
        assert second.elector.leading
        assert not first.elector.leading
        await second.stop()
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""

    with_api(test)


def test_a_leader_whose_last_renewal_was_not_answered_still_releases_the_lease(with_api):
    async def test(api, http, client):
        leader = Candidate(client, "one", lease_s=60, renew_s=40, retry_s=10)
        async with asyncio.timeout(5):
            await leader.started.wait()
        api.put(LEASE, copy.deepcopy(api.objects[LEASE]))  # As its own renewal would do.
        await leader.stop()
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""

    with_api(test)


def test_a_dead_leaders_lease_is_taken_only_after_it_stood_still_for_its_whole_length(with_api):
    async def test(api, http, client):
        api.put(
            LEASE,
            {
                "metadata": {"name": "job", "namespace": "kube-system"},
                "spec": {
                    "holderIdentity": "dead",
                    "leaseDurationSeconds": 1,
                    "renewTime": "2000-01-01T00:00:00.000000Z",
                    "leaseTransitions": 4,
                },
            },
        )
        began = client.seams.clock.now()
        candidate = Candidate(client, "two")
        async with asyncio.timeout(5):
            await candidate.started.wait()
        assert client.seams.clock.now() - began >= 1.0
        assert api.objects[LEASE]["spec"]["leaseTransitions"] == 5
        await candidate.stop()

    with_api(test)


def test_a_leader_that_cannot_renew_stops_leading_before_its_lease_ends(with_api):
    async def test(api, http, client):
        candidate = Candidate(client, "one")
        async with asyncio.timeout(5):
            await candidate.started.wait()
            began = client.seams.clock.now()
            api.fail = lambda method, path: 500
            await candidate.ended.wait()
        assert client.seams.clock.now() - began < 1.0
        candidate.started.clear()
        api.fail = None
        async with asyncio.timeout(5):
            await candidate.started.wait()
        await candidate.stop()

    with_api(test)


def test_a_leader_stops_at_once_when_someone_else_holds_the_lease(with_api):
    async def test(api, http, client):
        candidate = Candidate(client, "one", lease_s=60, renew_s=40)
        async with asyncio.timeout(5):
            await candidate.started.wait()
            lease = api.objects[LEASE]
            api.put(LEASE, {**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}})
            await candidate.ended.wait()
        assert not candidate.elector.leading
        await candidate.stop()

    with_api(test)


def test_an_error_of_the_leaders_work_is_raised_and_the_lease_released(with_api):
    async def test(api, http, client):
        async def lead():
            raise LookupError("broken")

        elector = LeaderElector(client, client.seams, "job", "one", 60, 40, 1)
        with pytest.raises(LookupError):
            await elector.run(lead)
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""

    with_api(test)
