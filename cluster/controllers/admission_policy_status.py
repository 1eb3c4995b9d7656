"""ValidatingAdmissionPolicy status: what of a policy's expressions does not fit its kinds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.machinery import meta, policycheck, resources, schema, schema_types, structural
from cluster.machinery.cel import types
from cluster.machinery.cel.types import Type
from cluster.machinery.customresources import definition
from cluster.machinery.policycheck import Kind
from cluster.machinery.structural import cel_types

Object = dict[str, Any]

POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


class AdmissionPolicyStatus(Controller):
    """A policy is checked anew when it changes, and when the kinds that are served do."""

    name = "validatingadmissionpolicy-status"
    account = "validatingadmissionpolicy-status-controller"

    def watches(self) -> Sequence[Watch]:
        return [Watch(POLICIES), Watch(DEFINITIONS, self._every_policy)]

    def _every_policy(self, _: Object) -> Iterable[str]:
        return [meta.key(policy) for policy in self.informers.of(POLICIES).list()]

    async def reconcile(self, key: str) -> Result | None:
        policy = self.informers.of(POLICIES).get(key)
        if policy is None:
            return None
        found = policycheck.warnings(policy, self._kind, self._type)
        status = {
            "observedGeneration": policy["metadata"].get("generation", 0),
            "typeChecking": {"expressionWarnings": found} if found else {},
        }
        told = policy.get("status") or {}
        if {name: told.get(name) for name in status} != status:
            new = {**policy, "status": {**told, **status}}
            await self.client.update(POLICIES, new, subresource="status")
        return None

    def _kind(self, group: str, version: str, plural: str) -> Kind | None:
        name = f"{group}/{version}/{plural}" if group else f"{version}/{plural}"
        try:
            return group, version, resources.find(name).kind
        except KeyError:
            found = self._version(group, version, lambda names: names["plural"] == plural)
            return None if found is None else (group, version, found[0]["spec"]["names"]["kind"])

    def _type(self, kind: Kind) -> Type | None:
        group, version, name = kind
        type_name = schema.type_for(f"{group}/{version}" if group else version, name)
        if type_name is not None:
            return schema_types.of(type_name)
        found = self._version(group, version, lambda names: names["kind"] == name)
        described = definition.schema_of(found[1]) if found is not None else None
        if not described:
            return None
        root = cel_types.type_of(structural.parse(described), name)
        metadata = {"metadata": schema_types.of(schema.OBJECT_META)}
        texts = {"apiVersion": types.STRING, "kind": types.STRING}
        fields = {**((root.fields or {}) if root is not None else {}), **texts, **metadata}
        return types.object_type(name, fields)

    def _version(self, group: str, version: str, suits: Any) -> tuple[Object, Object] | None:
        """(definition, its version) of a custom resource."""
        for crd in self.informers.of(DEFINITIONS).list():
            if crd["spec"]["group"] == group and suits(crd["spec"]["names"]):
                for each in crd["spec"]["versions"]:
                    if each["name"] == version:
                        return crd, each
        return None
