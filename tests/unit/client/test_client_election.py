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

    async def lead(self, term):
        self.term = term
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
        async def lead(term):
            raise LookupError("broken")

        elector = LeaderElector(client, client.seams, "job", "one", 60, 40, 1)
        with pytest.raises(LookupError):
            await elector.run(lead)
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""

    with_api(test)


def test_a_new_term_has_another_number_even_if_the_same_candidate_leads_again(with_api):
    async def test(api, http, client):
        candidate = Candidate(client, "one")
        headers = []
        for _ in range(2):
            async with asyncio.timeout(30):
                await candidate.started.wait()
                headers.append(candidate.term.header)
                candidate.started.clear()
                api.fail = lambda method, path: 500
                await candidate.ended.wait()
                candidate.ended.clear()
            assert candidate.term.is_over
            api.fail = None
        assert len(set(headers)) == 2
        await candidate.stop()

    with_api(test)


def test_a_leader_whose_lease_is_deleted_ends_its_term_and_leads_in_a_new_one(with_api):
    async def test(api, http, client):
        candidate = Candidate(client, "one", lease_s=60, renew_s=40)
        async with asyncio.timeout(30):
            await candidate.started.wait()
            first = candidate.term
            candidate.started.clear()
            api.remove(LEASE)
            await candidate.ended.wait()
            await candidate.started.wait()
        assert first.is_over
        assert not candidate.term.is_over
        assert candidate.term.header != first.header
        await candidate.stop()

    with_api(test)


def test_what_was_done_at_the_end_of_the_work_may_still_be_written(with_api):
    async def test(api, http, client):
        over = []

        async def lead(term):
            try:
                await asyncio.Event().wait()
            finally:
                over.append(term.is_over)

        elector = LeaderElector(client, client.seams, "job", "one", 60, 40, 1)
        task = asyncio.create_task(elector.run(lead))
        async with asyncio.timeout(30):
            while not elector.leading:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait({task})
        assert over == [False]
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""

    with_api(test)
