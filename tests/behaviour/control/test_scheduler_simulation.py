"""Seeds of competing schedulers: no node is overcommitted, no pod is bound twice, none is left."""

from __future__ import annotations

import pytest

from cluster.simulation.scheduling import run_seed
from cluster.storage.binders import Binders, Writer

SMOKE_SEEDS = (3, 5)


@pytest.mark.parametrize("seed", SMOKE_SEEDS)
def test_active_schedulers_never_overcommit_a_node_under_the_faults_of_a_seed(seed):
    report = run_seed(seed)
    assert report.violations == [], f"replay: {report.replay}"
    assert report.bindings > 20


def test_without_the_check_of_what_a_scheduler_has_seen_nodes_are_overcommitted(monkeypatch):
    charge = Binders.charge

    async def unchecked(self, node, writer, *, fresh):
        return await charge(self, node, Writer(), fresh=fresh)

    monkeypatch.setattr(Binders, "charge", unchecked)
    found = (run_seed(seed).violations for seed in (2, 6))
    assert any("m of 4000m after" in text for violations in found for text in violations)
