"""Each kind's rules: samples are valid, and one change at a time says what is wrong with it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.machinery import cron, defaulting, resources
from cluster.machinery.validation import validate_create, validate_update

Object = dict[str, Any]
MANIFESTS = Path(__file__).parents[2] / "behaviour/manifests/resources.yaml"
CSR = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg=="  # noqa: E501


def samples() -> dict[str, Object]:
    text = MANIFESTS.read_text().replace("%CSR%", CSR)
    found = {}
    for part in re.split(r"(?m)^(?=--- # )", text)[1:]:
        head, _, body = part.partition("\n")
        key = head.split()[2].rstrip(":")
        obj = yaml.safe_load(body)
        if resources.find(key).namespaced:
            obj["metadata"]["namespace"] = "default"
        defaulting.apply(obj)
        found[key] = obj
    found["batch/v1/jobs"]["spec"]["selector"] = {"matchLabels": {"u": "1"}}
    found["batch/v1/jobs"]["spec"]["template"]["metadata"] = {"labels": {"u": "1"}}
    return found


SAMPLES = samples()


def with_(obj: Object, path: str, value: Any) -> Object:
    """A copy with a dotted path (numbers are list indexes) set, or removed where it is None."""
    new = copy.deepcopy(obj)
    steps = path.split(".")
    at: Any = new
    for step in steps[:-1]:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    last = int(steps[-1]) if isinstance(at, list) else steps[-1]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return new


def causes(found: list[Any]) -> str:
    return "\n".join(str(cause) for cause in found)


@pytest.mark.parametrize("key", SAMPLES)
def test_the_sample_is_valid_and_may_stay_as_it_is(key: str) -> None:
    assert causes(validate_create(copy.deepcopy(SAMPLES[key]))) == ""
    old = with_(SAMPLES[key], "metadata.uid", "u")
    assert causes(validate_update(copy.deepcopy(old), old)) == ""


_JOB = "batch/v1/jobs"
_CRON = "batch/v1/cronjobs"
_STS = "apps/v1/statefulsets"
_PV, _PVC = "v1/persistentvolumes", "v1/persistentvolumeclaims"
_HPA = "autoscaling/v2/horizontalpodautoscalers"
_ING, _NP = "networking.k8s.io/v1/ingresses", "networking.k8s.io/v1/networkpolicies"
_HOOKS = "admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_VAP = "admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_VAPB = "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_RBAC = "rbac.authorization.k8s.io/v1/"
_CSR = "certificates.k8s.io/v1/certificatesigningrequests"
_FLOW = "flowcontrol.apiserver.k8s.io/v1/"

WRONG: list[tuple[str, str, Any, str]] = [
    (_JOB, "spec.parallelism", -1, "spec.parallelism: Invalid value: -1: must be greater than or "
     "equal to 0"),
    (_JOB, "spec.completionMode", "Odd", 'spec.completionMode: Unsupported value: "Odd": supported '
     'values: "Indexed", "NonIndexed"'),
    (_JOB, "spec.maxFailedIndexes", 1, "requires indexed completion mode"),
    (_JOB, "spec.template.spec.restartPolicy", "Always", "spec.template.spec.restartPolicy: "
     'Required value: valid values: "OnFailure", "Never"'),
    (_JOB, "spec.selector", None, "spec.selector: Required value"),
    (_JOB, "spec.template.metadata.labels", {}, "`selector` does not match template `labels`"),
    (_JOB, "spec.podFailurePolicy", {"rules": [{"action": "FailIndex", "onExitCodes":
     {"operator": "In", "values": [0]}}]}, "must not be 0 for the In operator"),
    (_JOB, "spec.podFailurePolicy", {"rules": [{"action": "Ignore"}]},
     "specifying one of OnExitCodes and OnPodConditions is required"),
    (_JOB, "spec.successPolicy", {"rules": []}, "spec.successPolicy: Invalid value"),
    (_CRON, "spec.schedule", "61 * * * *", "end of range (61) above maximum (59): 61"),
    (_CRON, "spec.schedule", "* * * *", "expected exactly 5 fields, found 4"),
    (_CRON, "spec.schedule", "TZ=UTC * * * * *", "use timeZone field instead"),
    (_CRON, "spec.timeZone", "Mars/Base", "spec.timeZone: Invalid value: \"Mars/Base\": unknown "
     "time zone Mars/Base"),
    (_CRON, "spec.timeZone", "local", "must be an explicit time zone"),
    (_CRON, "spec.concurrencyPolicy", "Maybe", 'supported values: "Allow", "Forbid", "Replace"'),
    (_STS, "spec.podManagementPolicy", "X", "must be 'OrderedReady' or 'Parallel'"),
    (_STS, "spec.updateStrategy", {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
     "only allowed for updateStrategy 'RollingUpdate'"),
    (_STS, "spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Keep",
     'supported values: "Delete", "Retain"'),
    (_STS, "spec.ordinals", {"start": -1}, "spec.ordinals.start"),
    ("apps/v1/daemonsets", "spec.updateStrategy.type", "Odd", "spec.updateStrategy.type"),
    ("v1/podtemplates", "template.spec.containers", [], "template.spec.containers: Required"),
    (_PV, "spec.capacity", {}, "spec.capacity: Required value"),
    (_PV, "spec.accessModes", ["Any"], "spec.accessModes: Unsupported value"),
    (_PV, "spec.accessModes", ["ReadWriteOncePod", "ReadWriteOnce"],
     "may not use ReadWriteOncePod with other access modes"),
    (_PV, "spec.hostPath", None, "spec: Required value: must specify a volume type"),
    (_PV, "spec.nfs", {"server": "s", "path": "/"}, "may not specify more than 1 volume type"),
    (_PV, "spec.hostPath.path", "/a/../b", "must not contain '..'"),
    (_PV, "spec.capacity.storage", "0", "must be greater than zero"),
    (_PVC, "spec.accessModes", [], "spec.accessModes: Required value: at least 1 access mode is "
     "required"),
    (_PVC, "spec.resources", {}, "spec.resources[storage]: Required value"),
    (_PVC, "spec.volumeMode", "Tape", 'supported values: "Block", "Filesystem"'),
    ("storage.k8s.io/v1/storageclasses", "provisioner", "", "provisioner: Required value"),
    ("storage.k8s.io/v1/storageclasses", "volumeBindingMode", "Soon",
     'supported values: "Immediate", "WaitForFirstConsumer"'),
    ("storage.k8s.io/v1/csidrivers", "spec.fsGroupPolicy", "X", "spec.fsGroupPolicy"),
    ("storage.k8s.io/v1/csinodes", "spec.drivers.0.nodeID", "", "spec.drivers[0].nodeID: Required"),
    ("storage.k8s.io/v1/csistoragecapacities", "storageClassName", "", "storageClassName: Req"),
    ("storage.k8s.io/v1/volumeattachments", "spec.source", {}, "exactly one of inlineVolumeSpec"),
    ("storage.k8s.io/v1/volumeattributesclasses", "driverName", "", "driverName: Required value"),
    ("policy/v1/poddisruptionbudgets", "spec.maxUnavailable", 1,
     "minAvailable and maxUnavailable cannot be both set"),
    ("policy/v1/poddisruptionbudgets", "spec.minAvailable", "120%", "not be greater than 100%"),
    (_HPA, "spec.maxReplicas", 0, "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
    (_HPA, "spec.minReplicas", 9, "must be greater than or equal to `minReplicas`"),
    (_HPA, "spec.scaleTargetRef.name", "", "spec.scaleTargetRef.name: Required value"),
    (_HPA, "spec.metrics.0.type", "Odd", "spec.metrics[0].type: Unsupported value"),
    (_HPA, "spec.metrics.0.resource.target", {"type": "Utilization"},
     "must set either a target raw value or a target utilization"),
    (_HPA, "spec.behavior", {"scaleUp": {"policies": [{"type": "Pods", "value": 0,
     "periodSeconds": 9999}]}}, "must be less than or equal to 1800"),
    ("autoscaling/v1/horizontalpodautoscalers", "spec.targetCPUUtilizationPercentage", 0,
     "spec.targetCPUUtilizationPercentage: Invalid value: 0: must be greater than 0"),
    (_ING, "spec.rules", [], "either `defaultBackend` or `rules` must be specified"),
    (_ING, "spec.rules.0.host", "1.2.3.4", "must be a DNS name, not an IP address"),
    (_ING, "spec.rules.0.host", "*x", "must start with '*.'"),
    (_ING, "spec.rules.0.http.paths.0.pathType", None, "pathType must be specified"),
    (_ING, "spec.rules.0.http.paths.0.path", "a", "must be an absolute path"),
    (_ING, "spec.rules.0.http.paths.0.path", "/a//b", "must not contain '//'"),
    (_ING, "spec.rules.0.http.paths.0.backend", {}, "resource or service backend is required"),
    (_ING, "spec.rules.0.http.paths.0.backend.service.port", {},
     "port name or number is required"),
    ("networking.k8s.io/v1/ingressclasses", "spec.controller", "plain", "domain-prefixed path"),
    (_NP, "spec.ingress", [{"from": [{}]}], "spec.ingress[0].from[0]: Required value: must specify "
     "a peer"),
    (_NP, "spec.egress", [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}],
     "must be a strict subset of `cidr`"),
    (_NP, "spec.ingress", [{"ports": [{"port": 90, "endPort": 80}]}],
     "must be greater than or equal to `port`"),
    (_NP, "spec.policyTypes", ["Sideways"], "spec.policyTypes[0]: Unsupported value"),
    ("networking.k8s.io/v1/ipaddresses", "metadata.name", "x", "must be a valid IP address"),
    ("networking.k8s.io/v1/servicecidrs", "spec.cidrs", ["10.0.0.0"], "must be a valid CIDR value"),
    ("scheduling.k8s.io/v1/priorityclasses", "value", 2_000_000_000,
     "maximum allowed value of a user defined priority is 1000000000"),
    ("scheduling.k8s.io/v1/priorityclasses", "metadata.name", "system-mine", "reserved for system"),
    ("node.k8s.io/v1/runtimeclasses", "handler", "A b", "handler: Invalid value"),
    ("v1/limitranges", "spec.limits.0.min", {"cpu": "3"},
     "spec.limits[0].min[cpu]: Invalid value: \"3\": min value 3 is greater than max value 2"),
    ("v1/limitranges", "spec.limits.0.default", {"cpu": "1"}, "may not be specified when `type`"),
    ("v1/resourcequotas", "spec.hard.pods", "-1", "spec.hard[pods]: Invalid value"),
    ("v1/resourcequotas", "spec.scopes", ["Terminating", "NotTerminating"], "conflicting scopes"),
    (_RBAC + "roles", "rules.0.verbs", [], "rules[0].verbs: Required value: verbs must contain at "
     "least one value"),
    (_RBAC + "roles", "rules.0.nonResourceURLs", ["/x"],
     "namespaced rules cannot apply to non-resource URLs"),
    (_RBAC + "clusterroles", "aggregationRule", {}, "at least one clusterRoleSelector required"),
    (_RBAC + "rolebindings", "roleRef.kind", "User", 'supported values: "ClusterRole", "Role"'),
    (_RBAC + "clusterrolebindings", "subjects.0", {"kind": "ServiceAccount", "name": "x"},
     "subjects[0].namespace: Required value"),
    (_HOOKS, "webhooks.0.name", "short", "should be a domain with at least three segments"),
    (_HOOKS, "webhooks.0.timeoutSeconds", 31, "between 1 and 30 seconds"),
    (_HOOKS, "webhooks.0.sideEffects", "Some", 'supported values: "None", "NoneOnDryRun"'),
    (_HOOKS, "webhooks.0.clientConfig", {}, "exactly one of url or service is required"),
    (_HOOKS, "webhooks.0.clientConfig", {"url": "http://x"}, "'https' is the only allowed URL"),
    (_HOOKS, "webhooks.0.rules.0.operations", ["*", "CREATE"], "if '*' is present"),
    (_VAP, "spec.validations", [], "validations or auditAnnotations must be non-empty"),
    (_VAP, "spec.matchConstraints", None, "spec.matchConstraints: Required value"),
    (_VAPB, "spec.validationActions", ["Deny", "Warn"], "must not contain both Deny and Warn"),
    (_CSR, "spec.request", "eA==", "PEM block type must be CERTIFICATE REQUEST"),
    (_CSR, "spec.usages", ["flying"], "spec.usages[0]: Unsupported value"),
    (_CSR, "spec.expirationSeconds", 5, "may not specify a duration less than 600 seconds"),
    (_CSR, "spec.signerName", "x", "must be a fully qualified domain and path"),
    (_FLOW + "flowschemas", "spec.matchingPrecedence", 10_001, "must not be greater than 10000"),
    (_FLOW + "prioritylevelconfigurations", "spec.limited.limitResponse.queuing.handSize", 99,
     "should not be greater than queues (64)"),
    (_FLOW + "prioritylevelconfigurations", "spec.limited", None, "must not be empty when type"),
    ("resource.k8s.io/v1/resourceclaims", "spec.devices.requests.0.exactly.deviceClassName", "",
     "spec.devices.requests[0].exactly.deviceClassName: Required value"),
    ("resource.k8s.io/v1/resourceclaims", "spec.devices.requests.0.exactly.count", -1,
     "must be greater than zero"),
    ("resource.k8s.io/v1/resourceslices", "spec.allNodes", True, "exactly one of"),
    ("resource.k8s.io/v1/resourceslices", "spec.devices", [{"name": "a"}, {"name": "a"}],
     "spec.devices[1].name: Duplicate value"),
    ("apiregistration.k8s.io/v1/apiservices", "metadata.name", "other", "must be `spec.version"),
    ("apiregistration.k8s.io/v1/apiservices", "spec.versionPriority", 0, "must be positive and "
     "less than 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "path", "value", "said"), WRONG)
def test_what_is_wrong_is_told(key: str, path: str, value: Any, said: str) -> None:
    assert said in causes(validate_create(with_(SAMPLES[key], path, value)))


FIXED: list[tuple[str, str, Any, str]] = [
    (_JOB, "spec.completionMode", "Indexed", "spec.completionMode: Invalid value: \"Indexed\": "
     "field is immutable"),
    (_JOB, "spec.template.spec.containers.0.image", "other", "spec.template: Invalid value"),
    (_STS, "spec.serviceName", "other", "updates to statefulset spec for fields other than"),
    ("apps/v1/daemonsets", "spec.selector.matchLabels", {"a": "c"}, "field is immutable"),
    (_PV, "spec.hostPath.path", "/other", "spec.persistentvolumesource is immutable"),
    (_PVC, "spec.accessModes", ["ReadWriteMany"], "spec is immutable after creation"),
    (_PVC, "spec.resources.requests.storage", "2Gi", "spec is immutable after creation"),
    ("storage.k8s.io/v1/storageclasses", "provisioner", "example.com/o",
     "provisioner: Forbidden: updates to provisioner are forbidden."),
    ("storage.k8s.io/v1/csidrivers", "spec.attachRequired", False, "field is immutable"),
    ("storage.k8s.io/v1/volumeattachments", "spec.nodeName", "o", "spec: Invalid value"),
    ("storage.k8s.io/v1/volumeattributesclasses", "parameters", {"a": "c"}, "are forbidden."),
    ("scheduling.k8s.io/v1/priorityclasses", "value", 11, "may not be changed in an update."),
    ("node.k8s.io/v1/runtimeclasses", "handler", "other", "field is immutable"),
    ("networking.k8s.io/v1/ingressclasses", "spec.controller", "b.example/c", "is immutable"),
    ("networking.k8s.io/v1/ipaddresses", "spec.parentRef.name", "other", "field is immutable"),
    (_RBAC + "rolebindings", "roleRef.name", "other", "roleRef: Invalid value"),
    ("resource.k8s.io/v1/resourceclaims", "spec.devices.requests.0.name", "q", "is immutable"),
    ("resource.k8s.io/v1/resourceslices", "spec.nodeName", "o", "field is immutable"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "path", "value", "said"), FIXED)
def test_what_must_not_change_is_told(key: str, path: str, value: Any, said: str) -> None:
    old = with_(SAMPLES[key], "metadata.uid", "u")
    assert said in causes(validate_update(with_(old, path, value), old))


def test_a_waiting_job_may_be_placed_elsewhere_and_an_indexed_one_may_grow() -> None:
    old = with_(with_(SAMPLES[_JOB], "metadata.uid", "u"), "spec.suspend", True)
    new = with_(old, "spec.template.spec.nodeSelector", {"zone": "a"})
    assert causes(validate_update(new, old)) == ""
    old = with_(with_(old, "spec.completionMode", "Indexed"), "spec.completions", 2)
    bigger = with_(with_(old, "spec.completions", 3), "spec.parallelism", 3)
    assert causes(validate_update(bigger, old)) == ""
    assert "in tandem" in causes(validate_update(with_(old, "spec.completions", 3), old))


def test_a_claim_is_bound_and_grows() -> None:
    old = with_(SAMPLES[_PVC], "metadata.uid", "u")
    bound = with_(with_(old, "spec.volumeName", "v"), "spec.storageClassName", "s")
    assert causes(validate_update(bound, old)) == ""
    bound["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    grown = with_(bound, "spec.resources.requests.storage", "2Gi")
    assert causes(validate_update(grown, bound)) == ""
    shrunk = with_(bound, "spec.resources.requests.storage", "1Mi")
    assert "can not be less than status.capacity" in causes(validate_update(shrunk, bound))


def test_approvals_exclude_one_another_and_stay() -> None:
    def conditions(*types: str) -> list[Object]:
        return [{"type": t, "status": "True"} for t in types]

    old = with_(with_(SAMPLES[_CSR], "metadata.uid", "u"), "status",
                {"conditions": conditions("Approved")})  # fmt: skip
    both = with_(old, "status.conditions", conditions("Approved", "Denied"))
    assert "mutually exclusive" in causes(validate_update(both, old))
    none = with_(old, "status.conditions", [])
    said = 'updates may not remove a condition of type "Approved"'
    assert said in causes(validate_update(none, old))


def test_an_ingress_says_its_class_once() -> None:
    twice = with_(with_(SAMPLES[_ING], "spec.ingressClassName", "c"), "metadata.annotations",
                  {"kubernetes.io/ingress.class": "c"})  # fmt: skip
    assert "can not be set when the class field is also set" in causes(validate_create(twice))
    assert causes(validate_update(with_(twice, "metadata.uid", "u"),
                                  with_(twice, "metadata.uid", "u"))) == ""  # fmt: skip


@pytest.mark.parametrize(
    ("text", "minutes", "weekdays"),
    [
        ("*/20 * * * *", {0, 20, 40}, set(range(7))),
        ("5,10-12 1 * * mon-wed", {5, 10, 11, 12}, {1, 2, 3}),
        ("@weekly", {0}, {0}),
        ("7/25 * ? * SUN", {7, 32, 57}, {0}),
    ],
)
def test_schedules_are_read(text: str, minutes: set[int], weekdays: set[int]) -> None:
    found = cron.parse(text)
    assert (found.minutes, found.weekdays) == (minutes, weekdays)


def test_intervals_are_read() -> None:
    assert cron.parse("@every 1h30m5s").every_s == 5405
    for wrong in ("@every x", "@never", "a * * * *", "*/0 * * * *", "5-1 * * * *", ""):
        with pytest.raises(ValueError, match=r"\w"):
            cron.parse(wrong)
