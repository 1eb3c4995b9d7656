"""Templates of pods, wherever a workload keeps them."""

from __future__ import annotations

from cluster.machinery.validation import metadata, pods
from cluster.machinery.validation.field import Errors, Object


def validate(spec: Object, errors: Errors, path: str = "spec") -> Object:
    """Labels, annotations and the pod's spec, which is returned."""
    template = spec.get("template") or {}
    return validate_template(template, f"{path}.template", errors)


def validate_template(template: Object, path: str, errors: Errors) -> Object:
    """The same for a template itself."""
    meta = template.get("metadata") or {}
    if meta.get("labels"):
        metadata.labels(meta["labels"], f"{path}.metadata.labels", errors)
    if meta.get("annotations"):
        metadata.annotation_map(meta["annotations"], f"{path}.metadata.annotations", errors)
    pod: Object = template.get("spec") or {}
    pods.validate_spec(pod, f"{path}.spec", errors)
    return pod


def validate_pod_template(obj: Object, errors: Errors) -> None:
    """The PodTemplate kind."""
    validate_template(obj.get("template") or {}, "template", errors)
