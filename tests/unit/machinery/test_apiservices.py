"""APIServices as values: order of groups, the ones that are kept by the server."""

from __future__ import annotations

from cluster.machinery.apiservices import automanaged, order, service
from cluster.machinery.apiservices.order import Priority


def test_a_group_is_as_high_as_its_highest_version() -> None:
    found = [
        ("low", "v1", Priority(100, 1)),
        ("b", "v1", Priority(500, 1)),
        ("mixed", "v1beta1", Priority(10, 1)),
        ("mixed", "v1", Priority(900, 1)),
        ("a", "v1", Priority(500, 1)),
    ]
    assert order.groups(found) == ["mixed", "a", "b", "low"]


def test_versions_of_one_priority_are_ordered_by_how_stable_and_new_they_are() -> None:
    names = ["v1beta2", "v2", "v10", "v1", "v1alpha1"]
    same = [(name, Priority(1, 5)) for name in names]
    assert order.versions(same) == ["v10", "v2", "v1", "v1beta2", "v1alpha1"]
    assert order.versions([*same, ("foo", Priority(1, 6))])[0] == "foo"


def test_custom_resources_come_after_all_of_kubernetes() -> None:
    assert order.of("example.com", "v1") == Priority(1000, 100)
    assert order.of("", "v1") > order.of("apps", "v1") > order.of("example.com", "v1")
    assert order.of("autoscaling", "v2").version > order.of("autoscaling", "v1").version


def held(obj: automanaged.Object, **spec: object) -> automanaged.Object:
    return {**obj, "spec": obj["spec"] | spec}


def test_what_is_missing_is_made_and_what_is_gone_is_deleted() -> None:
    apps = automanaged.local("apps", "v1", automanaged.ON_START)
    new = automanaged.local("example.com", "v1", automanaged.ALWAYS)
    old = automanaged.local("old.example.com", "v1", automanaged.ALWAYS)
    wanted = {"v1.apps": apps, "v1.example.com": new}
    found = automanaged.changes(wanted, {"v1.old.example.com": old}, starting=True)
    assert found.create == (apps, new)
    assert found.delete == ("v1.old.example.com",)


def test_what_is_built_in_is_left_alone_once_the_server_has_started() -> None:
    apps = automanaged.local("apps", "v1", automanaged.ON_START)
    changed = held(apps, versionPriority=1)
    nothing = automanaged.Changes((), (), ())
    assert automanaged.changes({"v1.apps": apps}, {}, starting=False) == nothing
    assert automanaged.changes({"v1.apps": apps}, {"v1.apps": changed}, starting=False) == nothing
    assert automanaged.changes({"v1.apps": apps}, {"v1.apps": changed}, True).update == (apps,)
    assert automanaged.changes({}, {"v1.apps": apps}, starting=False) == nothing


def test_an_apiservice_of_somebody_else_is_never_touched() -> None:
    new = automanaged.local("example.com", "v1", automanaged.ALWAYS)
    foreign = held(new, versionPriority=1)
    foreign["metadata"] = {"name": "v1.example.com"}
    nothing = automanaged.Changes((), (), ())
    both = {"v1.example.com": foreign, "v1.other.example.com": foreign}
    assert automanaged.changes({"v1.example.com": new}, both, starting=True) == nothing


def test_a_service_is_called_on_port_443_under_its_dns_name() -> None:
    spec = {"group": "g.example.com", "version": "v1", "groupPriorityMinimum": 1,
            "versionPriority": 2, "service": {"namespace": "a", "name": "b"}}  # fmt: skip
    found = service.parse({"metadata": {"name": "v1.g.example.com"}, "spec": spec})
    assert found.service is not None
    assert (found.service.host, found.service.port) == ("b.a.svc", 443)
    assert (found.root, found.available) == ("/apis/g.example.com/v1", False)
