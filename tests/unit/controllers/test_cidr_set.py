"""Parts of a network for nodes."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.controllers import node_ipam
from cluster.controllers.cidr_set import CidrSet

net = ipaddress.ip_network


def test_parts_are_given_out_in_turn_and_rest_after_they_were_let_go_of():
    found = CidrSet(net("10.0.0.0/22"), 24)
    first, second = found.allocate(), found.allocate()
    assert (str(first), str(second)) == ("10.0.0.0/24", "10.0.1.0/24")
    found.release(first)
    assert [str(found.allocate()) for _ in range(3)] == ["10.0.2.0/24", "10.0.3.0/24", str(first)]
    assert found.allocate() is None
    found.release(second)
    assert found.allocate() == second


def test_networks_that_are_larger_or_smaller_or_elsewhere_are_respected():
    found = CidrSet(net("10.0.0.0/22"), 24)
    found.occupy(net("10.0.1.128/25"))
    found.occupy(net("10.0.2.0/23"))
    found.occupy(net("192.168.0.0/16"))
    found.occupy(net("fd00::/64"))
    assert found.free == 1
    assert str(found.allocate()) == "10.0.0.0/24"
    found.occupy(net("10.0.0.0/8"))
    assert found.free == 0


def test_masks_that_do_not_fit_are_refused():
    for network, mask in (("10.0.0.0/24", 16), ("10.0.0.0/7", 24), ("10.0.0.0/24", 33)):
        with pytest.raises(ValueError, match="cannot be divided"):
            CidrSet(net(network, strict=False), mask)
    with pytest.raises(ValueError, match="one network of each IP version"):
        node_ipam.sets({"cluster_cidrs": ["10.0.0.0/16", "10.1.0.0/16"]})


@given(st.lists(st.booleans(), max_size=60))
def test_no_part_is_given_out_twice(steps):
    found, held = CidrSet(net("fd00::/60"), 64), []
    for take in steps:
        if take:
            part = found.allocate()
            assert (part is None) == (len(held) == 16)
            if part is not None:
                assert part not in held
                held.append(part)
        elif held:
            found.release(held.pop(0))
    assert found.free == 16 - len(held)
