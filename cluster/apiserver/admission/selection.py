"""Which plugins run, and their configuration: an API server's three settings of admission.

`enable_admission_plugins`, `disable_admission_plugins`: lists of names, upstream's flags.
`admission_control_config_file`: an AdmissionConfiguration (apiserver.config.k8s.io/v1), whose
plugins are configured in place or in files of their own (`path`, beside it if it is relative).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
KIND, API_VERSION = "AdmissionConfiguration", "apiserver.config.k8s.io/v1"
DEFAULT_ON = (
    "NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction",
    "TaintNodesByCondition", "PodSecurity", "Priority", "DefaultTolerationSeconds",
    "DefaultStorageClass", "StorageObjectInUseProtection", "PersistentVolumeClaimResize",
    "RuntimeClass", "CertificateApproval", "CertificateSigning", "CertificateSubjectRestriction",
    "DefaultIngressClass", "MutatingAdmissionPolicy", "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota",
)  # fmt: skip
"""As upstream, and NodeRestriction, which kubeadm turns on as well."""
OPTIONAL = (
    "AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit", "ExtendedResourceToleration",
    "ImagePolicyWebhook", "LimitPodHardAntiAffinityTopology", "NamespaceAutoProvision",
    "NamespaceExists", "OwnerReferencesPermissionEnforcement", "PodNodeSelector",
    "PodTolerationRestriction",
)  # fmt: skip
CONFIGURED: Mapping[str, tuple[str, ...]] = {
    "PodSecurity": ("PodSecurityConfiguration",),
    "ResourceQuota": ("Configuration", "ResourceQuotaConfiguration"),
    "EventRateLimit": ("Configuration",),
    "PodTolerationRestriction": ("Configuration",),
    "MutatingAdmissionWebhook": ("WebhookAdmission", "WebhookAdmissionConfiguration"),
    "ValidatingAdmissionWebhook": ("WebhookAdmission", "WebhookAdmissionConfiguration"),
    "ImagePolicyWebhook": (),  # upstream's forms of these have no kind
    "PodNodeSelector": (),
}
"""The plugins that take a configuration, and its kind."""


@dataclass(frozen=True)
class Selection:
    """The plugins that run, and the configurations of those that have one."""

    names: frozenset[str] = frozenset(DEFAULT_ON)
    configurations: Mapping[str, Object] = field(default_factory=dict)

    def of(self, name: str) -> Object:
        return self.configurations.get(name) or {}


def read(config: Mapping[str, Any]) -> Selection:
    """Raises ValueError for names and configurations that mean nothing, OSError for a file."""
    enable = list(config.get("enable_admission_plugins") or ())
    disable = list(config.get("disable_admission_plugins") or ())
    known = {*DEFAULT_ON, *OPTIONAL}
    for flag, names in (("enable", enable), ("disable", disable)):
        for name in names:
            if name not in known:
                raise ValueError(f'{flag}-admission-plugins plugin "{name}" is unknown')
    both = sorted({*enable} & {*disable})
    if both:
        raise ValueError(
            f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins "
            "overlapped"
        )
    chosen = frozenset({*DEFAULT_ON, *enable} - {*disable})
    path = config.get("admission_control_config_file")
    return Selection(chosen, _configurations(Path(path)) if path else {})


def _configurations(path: Path) -> Mapping[str, Object]:
    document = _document(path)
    if (document.get("kind"), document.get("apiVersion")) != (KIND, API_VERSION):
        raise ValueError(f"{path}: not an {KIND} of {API_VERSION}")
    return dict(_plugin(path, each) for each in document.get("plugins") or ())


def _plugin(path: Path, entry: Object) -> tuple[str, Object]:
    name = str(entry.get("name") or "")
    kinds = CONFIGURED.get(name)
    if kinds is None:
        raise ValueError(f'{path}: admission plugin "{name}" takes no configuration')
    found = entry.get("configuration")
    if found is None and entry.get("path"):
        found = _document(path.parent / entry["path"])
    found = found or {}
    if kinds and found and found.get("kind") not in kinds:
        raise ValueError(f"{path}: {name} is configured by a {_either(kinds)}")
    return name, found


def _either(kinds: Sequence[str]) -> str:
    return " or ".join(kinds)


def _document(path: Path) -> Object:
    found = yaml.safe_load(path.read_text())
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a YAML object")
    return found
