"""Times, keys, conditions, int-or-string, quantities, resources, statuses."""

import pytest

from cluster.machinery import intstr, meta, quantity, resources, schema, status
from cluster.machinery.status import Cause


def test_times_are_printed_as_kubernetes_prints_them() -> None:
    assert meta.format_time(1767323045.9) == "2026-01-02T03:04:05Z"
    assert meta.format_micro_time(1767323045.000006) == "2026-01-02T03:04:05.000006Z"
    assert meta.parse_time("2026-01-02T04:04:05+01:00") == 1767323045
    with pytest.raises(ValueError, match="RFC 3339"):
        meta.parse_time("2026-01-02")


def test_a_condition_moves_its_transition_time_only_with_its_status() -> None:
    obj: meta.Object = {}
    assert meta.set_condition(obj, {"type": "Ready", "status": "True", "reason": "a"}, 0)
    assert not meta.set_condition(obj, {"type": "Ready", "status": "True", "reason": "a"}, 9)
    assert meta.set_condition(obj, {"type": "Ready", "status": "True", "reason": "b"}, 9)
    assert meta.condition(obj, "Ready")["lastTransitionTime"] == "1970-01-01T00:00:00Z"  # type: ignore[index]
    meta.set_condition(obj, {"type": "Ready", "status": "False"}, 9)
    assert meta.condition(obj, "Ready")["lastTransitionTime"] == "1970-01-01T00:00:09Z"  # type: ignore[index]
    assert meta.condition_is(obj, "Ready", "False")


def test_the_controller_is_found_among_the_owners() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "o", "uid": "u"}}
    plain = meta.owner_reference(owner, controller=False)
    obj = {"metadata": {"name": "n", "namespace": "s", "ownerReferences": [plain]}}
    assert meta.controller_of(obj) is None
    obj["metadata"]["ownerReferences"].append(meta.owner_reference(owner))  # type: ignore[attr-defined]
    assert meta.controller_of(obj)["controller"] is True  # type: ignore[index]
    assert meta.split_key(meta.key(obj)) == ("s", "n")


@pytest.mark.parametrize(
    ("value", "up", "result"),
    [("25%", True, 1), ("25%", False, 0), (3, False, 3), ("100%", True, 3)],
)
def test_a_percentage_is_rounded_as_asked(value: int | str, up: bool, result: int) -> None:
    assert intstr.resolve(value, 3, up) == result


def test_text_that_is_no_percentage_is_refused() -> None:
    with pytest.raises(ValueError, match="percentage"):
        intstr.resolve("3", 3, True)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"), ("1024Ki", "1Mi"), ("1.5Gi", "1536Mi"), ("1e3", "1e3"), ("1000", "1k"),
        ("1000m", "1"), ("0.1Ki", "102400m"), ("2", "2"), ("0", "0"), ("1E", "1E"), ("-5m", "-5m"),
        ("123456789", "123456789"), (".5", "500m"), ("1n", "1n"), ("0.1n", "1n"),
    ],
)  # fmt: skip
def test_a_quantity_is_printed_in_canonical_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.parse(quantity.canonical(text)) == quantity.parse(text)


@pytest.mark.parametrize("text", ["", "1x", "1.2.3", "Gi", "1 Gi", "1e999999999", "--1", "1GiB"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


def test_cpu_and_memory_round_up() -> None:
    assert quantity.milli("0.0001") == 1
    assert quantity.value("100m") == 1
    assert quantity.value("1Gi") == 2**30


def test_a_resource_is_found_by_each_of_its_names() -> None:
    deployments = resources.find("apps/v1/deployments")
    assert resources.find("deployments.apps") is deployments is resources.find("deployments")
    assert resources.for_kind("apps/v1", "Deployment") is deployments
    assert resources.find("events").group == ""
    assert resources.find("events.events.k8s.io").group == "events.k8s.io"
    assert resources.find("horizontalpodautoscalers").version == "v2"
    assert deployments.short_names == ("deploy",)
    assert deployments.subresource("scale").api_version == "autoscaling/v1"  # type: ignore[union-attr]
    assert "watch" in deployments.verbs
    assert deployments.group_kind == "Deployment.apps"


def test_every_resource_has_a_schema() -> None:
    assert len(resources.ALL) == 90
    for resource in resources.ALL:
        assert schema.type_for(resource.api_version, resource.kind), resource


def test_every_definition_can_be_built_and_refers_to_known_types() -> None:
    scalars = {"string", "boolean", "integer:int32", "integer:int64", "number:double"}
    scalars |= {"string:byte"}
    for name in schema.all_types():
        for field in schema.definition(name).fields.values():
            leaf = field.type.replace("[]", "").replace("{}", "")
            assert leaf in scalars or schema.find(leaf), (name, field)


def test_an_invalid_object_names_its_fields() -> None:
    causes = [Cause("FieldValueRequired", "Required value", "spec.x"),
              Cause("FieldValueInvalid", 'Invalid value: "y": bad', "spec.y")]  # fmt: skip
    error = status.invalid("Deployment.apps", "web", causes)
    assert error.code == 422
    assert error.message == (
        'Deployment.apps "web" is invalid: '
        '[spec.x: Required value, spec.y: Invalid value: "y": bad]'
    )
    assert error.status["details"]["group"] == "apps"
    assert error.status["details"]["kind"] == "Deployment"
    assert error.status["details"]["causes"][0]["field"] == "spec.x"


def test_status_messages_are_upstream_ones() -> None:
    deployments = resources.find("deployments")
    assert status.not_found(deployments, "x").message == 'deployments.apps "x" not found'
    assert status.not_found("pods", "x").status["details"] == {"name": "x", "kind": "pods"}
    assert status.conflict("pods", "x").message.startswith(
        'Operation cannot be fulfilled on pods "x": the object has been modified'
    )
    assert status.forbidden("pods", "x", "no").message == 'pods "x" is forbidden: no'
    assert status.gone("old").code == 410
    assert status.gone("old").reason == "Expired"
