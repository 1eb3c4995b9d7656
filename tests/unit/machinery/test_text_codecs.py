"""JSON and YAML."""

import pytest

from cluster.machinery.codec import json_codec, yaml_codec
from cluster.machinery.errors import BadRequest


def test_json_survives_a_round_trip() -> None:
    obj = {"a": [1, None, "é"], "b": {"c": 1.5}}
    assert json_codec.decode(json_codec.encode(obj)) == obj


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"{'a': 1}", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        json_codec.decode(body)


def test_yaml_is_read_with_the_types_of_json() -> None:
    assert yaml_codec.decode(b"a: 2020-01-01\n1: yes\nb: 010\n") == {
        "a": "2020-01-01", "1": True, "b": 8,
    }  # fmt: skip
    assert yaml_codec.decode_all(b"a: 1\n---\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("body", [b"a: [", b"- 1", b"", b"a: !!python/object:os.system x"])
def test_a_body_that_is_no_yaml_mapping_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        yaml_codec.decode(body)


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**300])
def test_numbers_beyond_64_bits_are_the_same_in_yaml_and_json(number: int) -> None:
    found = yaml_codec.decode(b"a: %d" % number)
    assert found == json_codec.decode(b'{"a": %d}' % number)
    json_codec.encode(found)


@pytest.mark.parametrize("number", [b".inf", b"-.inf", b".nan", b"1" + b"0" * 400])
def test_a_number_that_json_has_not_is_refused(number: bytes) -> None:
    with pytest.raises(BadRequest, match="unsupported value"):
        yaml_codec.decode(b"a: " + number)


def test_a_yaml_bomb_is_refused() -> None:
    bomb = b"a: &a [x]\nb: [" + b",".join([b"*a"] * 200) + b"]\n"
    with pytest.raises(BadRequest, match="aliases"):
        yaml_codec.decode(bomb)


def test_yaml_survives_a_round_trip() -> None:
    obj = {"a": "2020-01-01", "b": ["true", True, "1", 1]}
    assert yaml_codec.decode(yaml_codec.encode(obj)) == obj
