"""Root CA publisher: the ConfigMap kube-root-ca.crt in every active namespace."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.controllers.serviceaccount import is_active
from cluster.controllers.services import is_ending
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

NAME = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


class RootCaPublisher(Controller):
    """`config["root_ca"]` is the bundle, as PEM text."""

    name = "root-ca-certificate-publisher"
    account = "root-ca-cert-publisher"

    def watches(self) -> Sequence[Watch]:
        return [Watch("namespaces"), Watch("configmaps", _namespace_of_bundle)]

    async def reconcile(self, key: str) -> Result | None:
        if not is_active(self.informers.of("namespaces").get(key)):
            return None
        data = {"ca.crt": self.context.config["root_ca"]}
        current = self.informers.of("configmaps").get(f"{key}/{NAME}")
        if current is None:
            await self._create(key, data)
        elif current.get("data") != data:
            await self.client.update("configmaps", copy.deepcopy(current) | {"data": data})
        return None

    async def _create(self, namespace: str, data: dict[str, str]) -> None:
        annotations = {"kubernetes.io/description": DESCRIPTION}
        metadata = {"name": NAME, "namespace": namespace, "annotations": annotations}
        bundle = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        try:
            await self.client.create("configmaps", bundle)
        except ApiError as error:
            if not is_ending(error):
                raise


def _namespace_of_bundle(obj: Object) -> Iterable[str]:
    return [meta.namespace(obj)] if obj["metadata"]["name"] == NAME else []
