"""Rows of each kind: what `kubectl get -o wide` shows of an object that has lived a little."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.machinery import meta, printing, resources

NOW_S = 1_800_000_000.0
CREATED = meta.format_time(NOW_S - 120)
TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}}
SELECTOR = {"matchLabels": {"a": "b"}}


def cells(key: str, **parts: Any) -> str:
    """The cells of a row, joined by a bar."""
    resource = resources.find(key)
    metadata = {"name": "x", "creationTimestamp": CREATED, **parts.pop("metadata", {})}
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **parts}
    table = printing.table(resource, [obj], NOW_S, include_object="None")
    (row,) = table["rows"]
    assert len(row["cells"]) == len(table["columnDefinitions"])
    return "|".join(str(cell) for cell in row["cells"])


ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("v1/replicationcontrollers",
     {"spec": {"replicas": 3, "selector": {"a": "b"}, "template": TEMPLATE},
      "status": {"replicas": 2, "readyReplicas": 1}}, "x|3|2|1|2m|c,d|i,j|a=b"),
    ("apps/v1/daemonsets",
     {"spec": {"selector": SELECTOR, "template": {"spec": {
         "nodeSelector": {"disk": "ssd"}, "containers": []}}},
      "status": {"desiredNumberScheduled": 3, "numberReady": 2}}, "x|3|0|2|0|0|disk=ssd|2m|||a=b"),
    ("apps/v1/statefulsets",
     {"spec": {"replicas": 2, "template": TEMPLATE}, "status": {"readyReplicas": 1}},
     "x|1/2|2m|c,d|i,j"),
    ("batch/v1/jobs",
     {"spec": {"completions": 3, "selector": SELECTOR, "template": TEMPLATE},
      "status": {"succeeded": 3, "startTime": CREATED,
                 "completionTime": meta.format_time(NOW_S - 60),
                 "conditions": [{"type": "Complete", "status": "True"}]}},
     "x|Complete|3/3|60s|2m|c,d|i,j|a=b"),
    ("batch/v1/jobs", {"spec": {"parallelism": 4, "template": TEMPLATE}},
     "x|Running|0/1 of 4||2m|c,d|i,j|<none>"),
    ("batch/v1/cronjobs",
     {"spec": {"schedule": "@daily", "suspend": True, "jobTemplate": {"spec": {
         "template": TEMPLATE}}}, "status": {"active": [{}], "lastScheduleTime": CREATED}},
     "x|@daily|<none>|True|1|2m|2m|c,d|i,j|<none>"),
    ("v1/persistentvolumes",
     {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
               "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "s",
               "claimRef": {"namespace": "n", "name": "c"}, "volumeMode": "Block"},
      "status": {"phase": "Bound"}}, "x|1Gi|RWO,RWX|Retain|Bound|n/c|s|<unset>||2m|Block"),
    ("v1/persistentvolumeclaims",
     {"spec": {"volumeName": "v", "volumeMode": "Filesystem"},
      "status": {"phase": "Bound", "capacity": {"storage": "2Gi"},
                 "accessModes": ["ReadWriteOncePod"]}},
     "x|Bound|v|2Gi|RWOP||<unset>|2m|Filesystem"),
    ("storage.k8s.io/v1/storageclasses",
     {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
      "provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
     "x (default)|p|Delete|Immediate|False|2m"),
    ("autoscaling/v2/horizontalpodautoscalers",
     {"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 5,
               "minReplicas": 2, "metrics": [
                   {"type": "Resource", "resource": {"name": "cpu", "target": {
                       "averageUtilization": 80}}},
                   {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {
                       "averageValue": "5"}}}]},
      "status": {"currentReplicas": 3, "currentMetrics": [{"type": "Resource", "resource": {
          "name": "cpu", "current": {"averageUtilization": 12}}}]}},
     "x|Deployment/d|cpu: 12%/80%, <unknown>/5|2|5|3|2m"),
    ("policy/v1/poddisruptionbudgets",
     {"spec": {"maxUnavailable": "20%"}, "status": {"disruptionsAllowed": 1}}, "x|N/A|20%|1|2m"),
    ("networking.k8s.io/v1/ingresses",
     {"spec": {"ingressClassName": "c", "tls": [{}], "rules": [{"host": "a"}, {"host": "b"}]},
      "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}},
     "x|c|a,b|1.2.3.4|80, 443|2m"),
    ("networking.k8s.io/v1/networkpolicies", {"spec": {"podSelector": {}}}, "x|<none>|2m"),
    ("certificates.k8s.io/v1/certificatesigningrequests",
     {"spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
      "status": {"certificate": "Yg==", "conditions": [{"type": "Approved"}]}},
     "x|2m|s|u|60m|Approved,Issued"),
    ("v1/resourcequotas",
     {"status": {"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}},
     "x|pods: 1/5|limits.cpu: 0/2|2m"),
    ("rbac.authorization.k8s.io/v1/rolebindings",
     {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
         {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]},
     "x|Role/r|2m|u||n/s"),
    ("scheduling.k8s.io/v1/priorityclasses", {"value": 5, "preemptionPolicy": "Never"},
     "x|5|False|2m|Never"),
    ("resource.k8s.io/v1/resourceclaims",
     {"status": {"allocation": {}, "reservedFor": [{}]}}, "x|allocated,reserved|2m"),
    ("apiregistration.k8s.io/v1/apiservices",
     {"spec": {"service": {"namespace": "n", "name": "s"}}, "status": {"conditions": [
         {"type": "Available", "status": "False", "reason": "Gone"}]}}, "x|n/s|False (Gone)|2m"),
    ("flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
     {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 30, "limitResponse": {
         "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}}}},
     "x|Limited|30|64|8|50|2m"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "parts", "shown"), ROWS)
def test_a_row_shows_what_there_is(key: str, parts: dict[str, Any], shown: str) -> None:
    assert cells(key, **parts) == shown
