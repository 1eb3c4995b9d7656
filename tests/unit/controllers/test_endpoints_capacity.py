"""Endpoints hold 1,000 addresses, whatever stands behind a Service."""

import pytest

from cluster.controllers.endpoints import truncate


def subset(ready=0, waiting=0):
    parts = {"addresses": ready, "notReadyAddresses": waiting}
    return {name: [{"ip": str(n)} for n in range(count)] for name, count in parts.items() if count}


def counts(subsets):
    return [(len(s.get("addresses") or ()), len(s.get("notReadyAddresses") or ())) for s in subsets]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([(1000, 0)], None),
        ([(600, 400)], None),
        ([(1500, 10)], [(1000, 0)]),
        ([(600, 900)], [(600, 400)]),
        ([(900, 0), (600, 5)], [(600, 0), (400, 0)]),
        ([(100, 900), (100, 300), (1, 0)], [(100, 600), (100, 199), (1, 0)]),
    ],
)
def test_ready_addresses_stay_first_and_subsets_keep_their_shares(given, kept):
    subsets = [subset(*each) for each in given]
    assert truncate(subsets) is (kept is not None)
    assert counts(subsets) == (kept or given)
    assert all(value for each in subsets for value in each.values())
