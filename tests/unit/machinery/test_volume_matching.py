from __future__ import annotations

import pytest

from cluster.controllers.ephemeral_volume import claims
from cluster.machinery.volume_matching import fits, match


def make_volume(name, size="1Gi", labels=None, **spec):
    given = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], **spec}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": given}


def make_claim(**spec):
    resources = {"requests": {"storage": "1Gi"}}
    given = {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec}
    return {"metadata": {"name": "c", "namespace": "d", "uid": "u"}, "spec": given}


def test_the_smallest_volume_that_is_large_enough_is_taken():
    volumes = [make_volume("a", "9Gi"), make_volume("b", "2Gi"), make_volume("c", "500Mi")]
    assert match(make_claim(), volumes)["metadata"]["name"] == "b"


@pytest.mark.parametrize(
    ("volume", "claim"),
    [
        ({"accessModes": ["ReadOnlyMany"]}, {}),
        ({"storageClassName": "fast"}, {}),
        ({"volumeMode": "Block"}, {}),
    ],
)
def test_modes_and_classes_must_be_the_same(volume, claim):
    assert not fits(make_volume("a", **volume), make_claim(**claim))


def test_a_volume_reserved_for_the_claim_comes_before_smaller_free_ones():
    mine = make_volume("mine", "9Gi", claimRef={"namespace": "d", "name": "c"})
    other = make_volume("other", claimRef={"namespace": "d", "name": "c", "uid": "before"})
    assert match(make_claim(), [make_volume("free"), mine, other])["metadata"]["name"] == "mine"
    assert match(make_claim(), [other]) is None


def test_a_selector_chooses_among_free_volumes():
    volumes = [make_volume("a"), make_volume("b", labels={"disk": "ssd"})]
    chosen = match(make_claim(selector={"matchLabels": {"disk": "ssd"}}), volumes)
    assert chosen["metadata"]["name"] == "b"


def test_ephemeral_claims_are_named_after_pod_and_volume():
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": []}}
    volumes = [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}, {"name": "w"}]
    metadata = {"name": "p", "namespace": "d", "uid": "u"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"volumes": volumes}}
    (claim,) = claims(pod)
    assert (claim["metadata"]["name"], claim["metadata"]["labels"]) == ("p-v", {"a": "b"})
