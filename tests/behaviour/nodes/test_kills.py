"""A kubelet that is killed and started again: its pods do not notice, and nothing is left behind.

`scripts/chaos kubelet` does the same for longer.
"""

from __future__ import annotations

import os
import random

import pytest
from suite import other_user
from suite.plane import Plane
from suite.runtimes import OTHER_USER, kubelet_process

from cluster.faults.kubelets.campaign import Kills

TIMES, PODS = 5, 3


@pytest.mark.parametrize("as_root", [True, False], ids=["root", "another user"])
def test_pods_go_on_when_their_kubelet_is_killed(plane: Plane, as_root: bool) -> None:
    user = None
    if not as_root and os.geteuid() == 0:
        user = OTHER_USER
        if reason := other_user.why_not(user):
            pytest.skip(reason)
    if as_root and os.geteuid() != 0:
        pytest.skip("needs root")
    number = 6 + as_root
    name = f"killed-{number}"
    namespace = plane.namespace(name)
    seed = random.SystemRandom().randrange(1 << 16)
    print(f"seed {seed}")
    with kubelet_process(plane, name, number, user) as kubelet:
        kills = Kills(plane.client, namespace, name, kubelet, random.Random(seed))
        outcome = plane.call(kills.run(TIMES, PODS), timeout_s=280)
    assert outcome.violations == []
    assert (outcome.kills, len(outcome.back_s)) == (TIMES, TIMES)
