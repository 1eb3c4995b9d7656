"""apply, edit, replace, patch, label, annotate, diff, kustomize, delete: objects from files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: %s, labels: {set: x}}
data: {a: "%s"}
"""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def config(name: str, value: str = "1") -> str:
    return CONFIG % (name, value)


def edited(kubectl: Any, script: str, *args: str, ok: bool = True) -> str:
    """What an editor does that runs this sed script."""
    command = kubectl.cluster.command("-n", kubectl.namespace, *args)
    before = len(kubectl.cluster.sent)
    environment = os.environ | {"KUBE_EDITOR": f"sed -i -e {script}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    kubectl.sent = kubectl.cluster.sent[before:]
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done.stdout if ok else done.stderr


def test_apply_merges_by_the_last_configuration(kubectl: Any, wire: Any) -> None:
    two = config("c").replace("\ndata: {", '\ndata: {b: "2", ')
    assert "configmap/c created" in kubectl("apply", "-f", "-", stdin=two)
    created = kubectl.request("POST")
    assert created.query["fieldManager"] == ["kubectl-client-side-apply"]
    assert created.query["fieldValidation"] == ["Strict"]
    kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"data":{"live":"3"}}')
    assert "configmap/c configured" in kubectl("apply", "-f", "-", stdin=config("c", "5"))
    patch = kubectl.request("PATCH")
    assert patch.content_type == wire.strategic
    assert patch.json["data"] == {"a": "5", "b": None}
    assert kubectl.get("configmap", "c")["data"] == {"a": "5", "live": "3"}
    assert "configmap/c unchanged" in kubectl("apply", "-f", "-", stdin=config("c", "5"))


def test_apply_in_dry_run(kubectl: Any) -> None:
    said = kubectl("apply", "--dry-run=server", "-f", "-", stdin=config("c"))
    assert "configmap/c created (server dry run)" in said
    assert kubectl.request("POST").query["dryRun"] == ["All"]
    assert "NotFound" in kubectl("get", "configmap", "c", ok=False)
    assert "(dry run)" in kubectl("apply", "--dry-run=client", "-f", "-", stdin=config("c"))
    assert all(s.method == "GET" for s in kubectl.sent)


def test_apply_prunes_by_label(kubectl: Any) -> None:
    kubectl("apply", "-f", "-", stdin=config("one") + "---" + config("two"))
    arguments = ("--prune", "-l", "set=x", "--prune-allowlist=core/v1/ConfigMap")
    said = kubectl("apply", "-f", "-", *arguments, stdin=config("one"))
    assert said == "configmap/one unchanged\nconfigmap/two pruned\n"
    assert "NotFound" in kubectl("get", "configmap", "two", ok=False)


def test_apply_prunes_by_apply_set(kubectl: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("KUBECTL_APPLYSET", "true")
    both = config("one") + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: two}\n"
    kubectl("apply", "-f", "-", "--prune", "--applyset=mine", stdin=both)
    said = kubectl("apply", "-f", "-", "--prune", "--applyset=mine", stdin=config("one"))
    assert "secret/two pruned" in said
    assert "NotFound" in kubectl("get", "secret", "two", ok=False)
    parent = kubectl.get("secret", "mine")["metadata"]
    assert parent["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"
    member = kubectl.get("configmap", "one")["metadata"]["labels"]
    assert member["applyset.kubernetes.io/part-of"] == parent["labels"]["applyset.kubernetes.io/id"]


def test_the_last_configuration_is_shown_set_and_edited(kubectl: Any, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", stdin=config("c"))
    assert 'a: "1"' in kubectl("apply", "view-last-applied", "configmap", "c")
    file = tmp_path / "c.yaml"
    file.write_text(config("c", "7"))
    said = kubectl("apply", "set-last-applied", "-f", str(file))
    assert said == "configmap/c configured\n"
    assert 'a: "7"' in kubectl("apply", "view-last-applied", "configmap/c")
    said = edited(kubectl, "s/7/8/", "apply", "edit-last-applied", "configmap/c")
    assert said == "configmap/c edited\n"
    annotations = kubectl.get("configmap", "c")["metadata"]["annotations"]
    assert json.loads(annotations[LAST_APPLIED])["data"] == {"a": "8"}
    assert kubectl.get("configmap", "c")["data"] == {"a": "1"}


def test_apply_on_the_server(kubectl: Any, wire: Any) -> None:
    said = kubectl("apply", "--server-side", "-f", "-", stdin=config("c"))
    assert said == "configmap/c serverside-applied\n"
    patch = kubectl.request("PATCH")
    assert patch.content_type == wire.apply
    assert patch.query["fieldManager"] == ["kubectl"]
    assert patch.query["force"] == ["false"]
    said = kubectl(
        "apply",
        "--server-side",
        "--field-manager=other",
        "-f",
        "-",
        stdin=config("c", "2"),
        ok=False,
    )
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in said
    kubectl(
        "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-",
        stdin=config("c", "2"),
    )  # fmt: skip
    assert kubectl.request("PATCH").query["force"] == ["true"]
    shown = kubectl("get", "configmap", "c", "-o", "yaml", "--show-managed-fields")
    assert "manager: other" in shown
    assert "managedFields" not in kubectl("get", "configmap", "c", "-o", "yaml")


def test_client_side_apply_moves_to_server_side_apply(kubectl: Any) -> None:
    kubectl("apply", "-f", "-", stdin=config("c"))
    kubectl("apply", "--server-side", "-f", "-", stdin=config("c", "2"))
    found = json.loads(kubectl("get", "cm", "c", "-o", "json", "--show-managed-fields"))
    managers = {m["manager"] for m in found["metadata"]["managedFields"]}
    assert "kubectl-client-side-apply" not in managers
    kubectl(
        "apply",
        "--server-side",
        "-f",
        "-",
        stdin=config("c", "3").replace(", labels: {set: x}", ""),
    )
    assert "labels" not in kubectl.get("configmap", "c")["metadata"]


def test_edit_sends_what_changed(kubectl: Any, wire: Any) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=one")
    assert edited(kubectl, "s/one/two/", "edit", "configmap", "c") == "configmap/c edited\n"
    patch = kubectl.request("PATCH")
    assert (patch.content_type, patch.json) == (wire.strategic, {"data": {"a": "two"}})
    assert kubectl.get("configmap", "c")["data"] == {"a": "two"}
    kubectl("create", "deployment", "d", "--image=i")
    said = edited(kubectl, "s/replicas:.1/replicas:\\ -1/", "edit", "deployment", "d", ok=False)
    assert 'deployments.apps "d" is invalid' in said
    said = edited(kubectl, "s/name:.c/name:\\ other/", "edit", "configmap", "c", ok=False)
    assert "At least one of apiVersion, kind and name was changed" in said
    kubectl("rollout", "status", "deployment/d", "--timeout=30s")
    kubectl("patch", "deployment", "d", "--subresource=status", "--type=merge", "-p",
            '{"status":{"collisionCount":2}}')  # fmt: skip
    arguments = ("edit", "deployment", "d", "--subresource=status")
    assert edited(kubectl, "s/collisionCount:.2/collisionCount:\\ 3/", *arguments)
    assert kubectl.request("PATCH").path.endswith("/deployments/d/status")
    assert kubectl.get("deployment", "d")["status"]["collisionCount"] == 3


def test_replace_puts_the_whole_object(kubectl: Any) -> None:
    kubectl("create", "-f", "-", stdin=config("c"))
    assert kubectl("replace", "-f", "-", stdin=config("c", "2")) == "configmap/c replaced\n"
    put = kubectl.request("PUT")
    assert put.query["fieldValidation"] == ["Strict"]
    assert kubectl.get("configmap", "c")["data"] == {"a": "2"}
    uid = kubectl.get("configmap", "c")["metadata"]["uid"]
    stale = config("c").replace("{name: c", '{name: c, resourceVersion: "1"')
    said = kubectl("replace", "-f", "-", stdin=stale, ok=False)
    assert "(Conflict)" in said
    assert "the object has been modified; please apply your changes to the latest version" in said
    said = kubectl("replace", "--force", "-f", "-", stdin=config("c", "3"))
    assert said.startswith('configmap "c" deleted')  # newer ones tell the namespace, too
    assert said.endswith("configmap/c replaced\n")
    assert kubectl.get("configmap", "c")["metadata"]["uid"] != uid
    assert "(NotFound)" in kubectl("replace", "-f", "-", stdin=config("none"), ok=False)


def test_patches_of_three_types_and_of_subresources(kubectl: Any, wire: Any) -> None:
    kubectl("create", "deployment", "d", "--image=i:1")
    container = {"spec": {"template": {"spec": {"containers": [{"name": "i", "image": "i:2"}]}}}}
    for kind, patch, media in (
        ("strategic", json.dumps(container), wire.strategic),
        ("merge", '{"metadata":{"labels":{"x":"y"}}}', wire.merge),
        ("json", '[{"op":"replace","path":"/spec/replicas","value":2}]', wire.json_patch),
    ):
        said = kubectl("patch", "deployment", "d", f"--type={kind}", "-p", patch)
        assert said == "deployment.apps/d patched\n"
        assert kubectl.request("PATCH").content_type == media
    said = kubectl("patch", "deployment", "d", "--subresource=scale", "--type=merge", "-p",
                   '{"spec":{"replicas":3}}')  # fmt: skip
    assert said == "scale.autoscaling/d patched\n"
    kubectl("patch", "deployment", "d", "--subresource=status", "--type=merge", "-p",
            '{"status":{"collisionCount":7}, "spec":{"replicas":9}}')  # fmt: skip
    found = kubectl.get("deployment", "d")
    assert (found["spec"]["replicas"], found["status"]["collisionCount"]) == (3, 7)
    kubectl("create", "configmap", "same", "--from-literal=a=b")
    said = kubectl("patch", "configmap", "same", "-p", '{"data":{"a":"b"}}')
    assert said == "configmap/same patched (no change)\n"
    test = '[{"op":"test","path":"/metadata/name","value":"x"}]'
    said = kubectl("patch", "deployment", "d", "--type=json", "-p", test, ok=False)
    assert "The request is invalid: the server rejected our request due to an error in our" in said
    said = kubectl("patch", "deployment", "d", "-p", '{"spec":{"replicas":"many"}}', ok=False)
    assert "cannot be handled as a Deployment: json: cannot unmarshal string" in said


def test_label_and_annotate(kubectl: Any, wire: Any) -> None:
    kubectl("create", "configmap", "c")
    assert kubectl("label", "configmap", "c", "a=b") == "configmap/c labeled\n"
    assert kubectl.request("PATCH").content_type == wire.merge
    said = kubectl("label", "configmap", "c", "a=c", ok=False)
    assert "'a' already has a value (b), and --overwrite is false" in said
    assert kubectl("label", "configmap", "c", "a=c", "--overwrite") == "configmap/c labeled\n"
    assert kubectl("label", "configmap", "c", "--list") == "a=c\n"
    assert kubectl("label", "configmap", "c", "a-") == "configmap/c unlabeled\n"
    said = kubectl("label", "configmap", "c", "x=1", "--resource-version=1", ok=False)
    assert "(Conflict)" in said
    assert kubectl("annotate", "configmap", "c", "n=1") == "configmap/c annotated\n"
    assert kubectl("annotate", "configmap", "c", "--list") == "n=1\n"
    assert kubectl("annotate", "configmap", "c", "n-") == "configmap/c annotated\n"
    kubectl("label", "configmaps", "--all", "all=1")
    assert kubectl("get", "cm", "-l", "all=1", "-o", "name").count("\n") >= 1
    said = kubectl("label", "configmap", "c", "a=-bad-", ok=False)
    assert "a valid label must be an empty string or consist of alphanumeric characters" in said


def test_diff_shows_what_apply_would_do(kubectl: Any) -> None:
    kubectl("apply", "-f", "-", stdin=config("c"))
    command = kubectl.cluster.command("-n", kubectl.namespace, "diff", "-f", "-")
    before = len(kubectl.cluster.sent)
    for manifest, code in ((config("c"), 0), (config("c", "2"), 1), (config("new"), 1)):
        done = subprocess.run(command, input=manifest, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
    sent = [s for s in kubectl.cluster.sent[before:] if s.method in ("PATCH", "POST")]
    assert all(s.query["dryRun"] == ["All"] for s in sent)
    command.insert(-2, "--server-side")
    done = subprocess.run(
        command, input=config("c", "2"), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, '+  a: "2"' in done.stdout) == (1, True)
    assert "NotFound" in kubectl("get", "cm", "new", ok=False)


def test_kustomizations_are_applied_shown_and_deleted(kubectl: Any, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(config("c"))
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [c.yaml]\nnamePrefix: my-\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n"
    )
    folder = str(tmp_path)
    said = kubectl("apply", "-k", folder)
    assert "configmap/my-c created" in said
    assert "configmap/my-g-" in said
    assert len(kubectl("get", "-k", folder, "--no-headers").splitlines()) == 2
    assert kubectl("diff", "-k", folder) == ""
    assert "kind: ConfigMap" in kubectl("kustomize", folder)
    assert 'configmap "my-c" deleted' in kubectl("delete", "-k", folder)


def test_delete_sends_options_and_waits(kubectl: Any) -> None:
    for name in ("one", "two", "three"):
        kubectl("create", "configmap", name)
    dry = kubectl("delete", "configmap", "one", "--dry-run=server")
    assert dry.startswith('configmap "one" deleted')
    assert dry.endswith("(server dry run)\n")
    assert kubectl.request("DELETE").json["dryRun"] == ["All"]
    assert kubectl("delete", "configmap", "one", "two").count(" deleted") == 2
    deletes = [s for s in kubectl.sent if s.method == "DELETE"]
    assert [s.json["propagationPolicy"] for s in deletes] == ["Background"] * 2
    assert any((s.method == "GET" and s.path.endswith("/configmaps/one")) or s.query.get("watch")
               for s in kubectl.sent)  # fmt: skip
    said = kubectl("delete", "configmap", "one", "three", ok=False)
    assert 'configmaps "one" not found' in said
    assert kubectl("delete", "configmap", "one", "--ignore-not-found") == ""
    kubectl("label", "configmap", "kube-root-ca.crt", "a=b")
    said = kubectl("delete", "configmap", "-l", "a=b")
    assert said.startswith('configmap "kube-root-ca.crt" deleted')


def test_delete_cascades_as_told(kubectl: Any) -> None:
    kubectl("create", "deployment", "d", "--image=i")
    kubectl("rollout", "status", "deployment/d", "--timeout=30s")
    kubectl("delete", "deployment", "d", "--cascade=orphan")
    assert kubectl.request("DELETE").json["propagationPolicy"] == "Orphan"
    (kept,) = kubectl.get("replicasets")["items"]
    assert "ownerReferences" not in kept["metadata"]
    name = kept["metadata"]["name"]
    kubectl("delete", "replicaset", name, "--cascade=foreground", "--timeout=30s")
    assert kubectl.get("pods")["items"] == []


def test_pods_are_deleted_gracefully_now_or_by_force(kubectl: Any) -> None:
    for name in ("a", "b", "c"):
        kubectl("run", name, "--image=i")
    kubectl.until("pod", "--all", "--for=condition=Ready")
    kubectl("delete", "pod", "a")
    assert "gracePeriodSeconds" not in kubectl.request("DELETE").json
    kubectl("delete", "pod", "b", "--now")
    assert kubectl.request("DELETE").json["gracePeriodSeconds"] == 1
    kubectl("delete", "pod", "c", "--grace-period=0", "--force")
    assert kubectl.request("DELETE").json["gracePeriodSeconds"] == 0
    assert kubectl.get("pods")["items"] == []
