"""What a ValidatingAdmissionPolicy's status says of its expressions."""

POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"


def policy(name, rule, *expressions, **spec):
    rules = [{"operations": ["*"], **rule}]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": each} for each in expressions],
            **spec,
        },
    }


WORKLOADS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}


async def checked(plane, generation=1, name="p"):
    async def check():
        found = await plane.client.get(POLICIES, name)
        status = found.get("status") or {}
        return status if status.get("observedGeneration") == generation else None

    return await plane.until(check)


def test_fields_that_a_kind_does_not_have_are_told_until_the_policy_is_put_right(control_plane):
    async def test(plane):
        await plane.manager()
        wrong = "object.replicas > 1"  # it is object.spec.replicas
        good = "object.spec.replicas > 1 && object.metadata.namespace != 'x'"
        old = "object.metadata.creationTimestamp < timestamp('2026-01-01T00:00:00Z')"
        await plane.client.create(POLICIES, policy("p", WORKLOADS, wrong, good, old))
        (warning,) = (await checked(plane))["typeChecking"]["expressionWarnings"]
        assert warning["fieldRef"] == "spec.validations[0].expression"
        assert warning["warning"] == (
            "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n"
            " | object.replicas > 1\n"
            " | ......^"
        )
        right = {"spec": {"validations": [{"expression": good}]}}
        await plane.client.patch(POLICIES, "p", right)
        assert (await checked(plane, 2))["typeChecking"] == {}

    control_plane(test)


def test_custom_kinds_parameters_and_variables_have_types_too(control_plane):
    async def test(plane):
        await plane.manager()
        text, number = {"type": "string"}, {"type": "integer"}
        spec = {"type": "object", "properties": {"size": number, "name": text}}
        schema = {"type": "object", "properties": {"spec": spec}}
        version = {"name": "v1", "served": True, "storage": True}
        crd = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "things", "kind": "Thing"},
                "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
            },
        }
        await plane.client.create("customresourcedefinitions.apiextensions.k8s.io", crd)
        rule = {
            "apiGroups": ["example.com", "apps"],
            "apiVersions": ["v1"],
            "resources": ["things", "daemonsets", "pods/exec", "unknown"],
        }
        given = policy(
            "p",
            rule,
            "variables.size == 'big'",
            "object.spec.size == 1",
            "params.data.limit > 1",
            "object.metadata.labels.size() < 3",
            paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
            variables=[{"name": "size", "expression": "object.spec.size"}],
        )

        await plane.client.create(POLICIES, given)

        async def all_told():
            status = await checked(plane)
            found = (status.get("typeChecking") or {}).get("expressionWarnings") or []
            return {each["fieldRef"]: each["warning"] for each in found} if len(found) > 2 else None

        told = await plane.until(all_told)
        assert (
            "no matching overload for '_==_' applied to '(int, string)'"
            in (told["spec.validations[0].expression"])
        )
        assert told["spec.validations[0].expression"].startswith("example.com/v1, Kind=Thing: ")
        assert (
            "apps/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'size'"
            in (told["spec.validations[1].expression"])
        )
        assert "Thing" not in told["spec.validations[1].expression"]
        assert "'_>_' applied to '(string, int)'" in told["spec.validations[2].expression"]
        assert len(told) == 3

    control_plane(test)
