from __future__ import annotations

import pytest

from raftstore.compaction import CompactionPolicy, Compactions
from raftstore.errors import InvalidRequest


def test_by_age_history_of_the_retention_time_stays() -> None:
    compactions = Compactions(CompactionPolicy.of({"mode": "periodic", "retention": 100}))
    due = [compactions.due(10.0 * step, 5 * step, 0) for step in range(1, 15)]
    assert due == [0] * 10 + [5, 10, 15, 20]


def test_by_age_an_idle_store_is_not_compacted_again() -> None:
    compactions = Compactions(CompactionPolicy("periodic", 100))
    assert compactions.due(0.0, 7, 0) == 0
    assert compactions.due(200.0, 7, 0) == 7
    assert compactions.due(400.0, 7, 7) == 0


def test_by_number_the_newest_revisions_stay() -> None:
    compactions = Compactions(CompactionPolicy("revision", 1000))
    assert compactions.due(0.0, 900, 0) == 0
    assert compactions.due(0.0, 2500, 0) == 1500
    assert compactions.due(0.0, 2500, 1500) == 0


@pytest.mark.parametrize("setting", [{"mode": "sometimes"}, {"mode": "periodic"}])
def test_a_senseless_policy_is_refused(setting: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        CompactionPolicy.of(setting)
