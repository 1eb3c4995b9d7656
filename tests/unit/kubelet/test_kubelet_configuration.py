"""KubeletConfiguration files as settings of our kubelet."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.kubelet import configuration

HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


def test_upstreams_names_become_ours() -> None:
    given = HEAD | {
        "evictionHard": {"memory.available": "200Mi"},
        "evictionSoft": {"memory.available": "1Gi"},
        "evictionSoftGracePeriod": {"memory.available": "1m30s"},
        "systemReserved": {"cpu": "100m"},
        "podPidsLimit": 100,
        "maxPods": 20,
        "shutdownGracePeriod": "45s",
        "shipLogs": {"url": "http://collector:4318/v1/logs", "format": "otlp"},
    }
    assert configuration.parse(given) == {
        "eviction_hard": {"memory.available": "200Mi"},
        "eviction_soft": {"memory.available": "1Gi"},
        "eviction_soft_grace_s": {"memory.available": 90.0},
        "system_reserved": {"cpu": "100m"},
        "pod_pids_max": 100,
        "capacity": {"pods": "20"},
        "shutdown_grace_s": 45.0,
        "ship_logs": {"url": "http://collector:4318/v1/logs", "format": "otlp"},
    }


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"kind": "Pod"}, "no KubeletConfiguration"),
        ({"topologyManagerPolicy": "best-effort"}, "topologyManagerPolicy is not supported"),
        ({"shutdownGracePeriod": "soon"}, "shutdownGracePeriod"),
        ({"systemReserved": {"cpu": "much"}}, "systemReserved"),
        ({"evictionHard": {"x": "1"}}, "unknown eviction signal"),
        ({"shipLogs": {"url": "nowhere"}}, "ship_logs"),
    ],
)
def test_what_is_not_there_or_wrong_is_told(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        configuration.parse(HEAD | more)
