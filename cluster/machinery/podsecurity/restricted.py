"""The checks of the restricted level, in upstream's order."""

from __future__ import annotations

from cluster.machinery.podsecurity.baseline import added_capabilities, unconfined
from cluster.machinery.podsecurity.pod import Pod, plural, quoted, sentences

VOLUMES = frozenset(
    {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
        "projected", "secret",
    }
)  # fmt: skip
CAPABILITIES = frozenset({"NET_BIND_SERVICE"})
CONFINED = ("RuntimeDefault", "Localhost")


def privilege_escalation(pod: Pod) -> str:
    if pod.windows:
        return ""
    names = pod.those(lambda s: s.get("allowPrivilegeEscalation") is not False)
    return sentences(False, names, "must set securityContext.allowPrivilegeEscalation=false")


def capabilities(pod: Pod) -> str:
    if pod.windows:
        return ""
    found = []
    names = pod.those(lambda s: "ALL" not in ((s.get("capabilities") or {}).get("drop") or ()))
    if names:
        text = 'must set securityContext.capabilities.drop=["ALL"]'
        found.append(f"{plural('container', names)} {text}")
    names, added = added_capabilities(pod, CAPABILITIES)
    if names:
        text = f"must not include {quoted(sorted(added))} in securityContext.capabilities.add"
        found.append(f"{plural('container', names)} {text}")
    return "; ".join(found)


def volumes(pod: Pod) -> str:
    names, types = [], set()
    for volume in pod.spec.get("volumes") or ():
        wrong = {kind for kind, given in volume.items() if kind != "name" and given is not None}
        if wrong - VOLUMES:
            names.append(volume["name"])
            types |= wrong - VOLUMES
    if not names:
        return ""
    verb = "use" if len(names) > 1 else "uses"
    kinds = f"restricted volume type{'s' if len(types) > 1 else ''} {quoted(sorted(types))}"
    return f"{plural('volume', names)} {verb} {kinds}"


def run_as_non_root(pod: Pod) -> str:
    found = []
    of_pod = pod.security.get("runAsNonRoot")
    if of_pod is False:
        found.append("pod must not set securityContext.runAsNonRoot=false")
    explicit = pod.those(lambda s: s.get("runAsNonRoot") is False)
    if explicit:
        text = "must not set securityContext.runAsNonRoot=false"
        found.append(f"{plural('container', explicit)} {text}")
    silent = pod.those(lambda s: s.get("runAsNonRoot") is None)
    if not found and silent and of_pod is None:
        text = "must set securityContext.runAsNonRoot=true"
        found.append(f"pod or {plural('container', silent)} {text}")
    return "; ".join(found) if explicit or of_pod is not True else ""


def run_as_user(pod: Pod) -> str:
    names = pod.those(lambda s: s.get("runAsUser") == 0)
    return sentences(pod.security.get("runAsUser") == 0, names, "must not set runAsUser=0")


def seccomp(pod: Pod) -> str:
    if pod.windows:
        return ""
    pod_too, names = unconfined(pod)
    bad = 'must not set securityContext.seccompProfile.type to "Unconfined"'
    found = ["pod " + bad] if pod_too else []
    if names:
        found.append(f"{plural('container', names)} {bad}")
    of_pod = (pod.security.get("seccompProfile") or {}).get("type")
    silent = pod.those(lambda s: not (s.get("seccompProfile") or {}).get("type"))
    if silent and not pod_too and of_pod not in CONFINED:
        text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        found.append(f"pod or {plural('container', silent)} {text}")
    return "; ".join(found)
