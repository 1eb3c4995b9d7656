"""A controller: every Mirror keeps a ConfigMap with its data in the namespaces that it names.

kubectl apply -f mirrors.yaml, then KUBECONFIG=... python mirror.py; see docs/controllers.md.
"""

from __future__ import annotations

from cluster.controllers.program import Controller, Watch, custom_resource, main, meta

MIRRORS = custom_resource("example.com", "v1", "mirrors", "Mirror", namespaced=False)


class MirrorController(Controller):
    name = "mirror"

    def watches(self):
        return [Watch(MIRRORS), Watch("configmaps", owner), Watch("namespaces", self.everyone)]

    def everyone(self, namespace):
        return self.informers.of(MIRRORS).keys()

    async def reconcile(self, key):
        mirror = self.informers.of(MIRRORS).get(key)
        if mirror is None:
            return  # The garbage collector removes the copies.
        spaces = self.informers.of("namespaces")
        wanted = [space for space in mirror["spec"]["namespaces"] if spaces.get(space)]
        for space in wanted:
            await self.copy(mirror, space)
        status = {"copies": len(wanted)}
        if mirror.get("status") != status:
            await self.client.update(MIRRORS, {**mirror, "status": status}, subresource="status")

    async def copy(self, mirror, space):
        name, data = mirror["metadata"]["name"], mirror["spec"]["data"]
        found = self.informers.of("configmaps").get(f"{space}/{name}")
        if found is None:
            owners = [meta.owner_reference(mirror)]
            metadata = {"name": name, "namespace": space, "ownerReferences": owners}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await self.client.create("configmaps", made)
            self.events.event(mirror, "Normal", "Copied", f"Copied to {space}")
        elif found.get("data") != data:
            await self.client.update("configmaps", {**found, "data": data})


def owner(config_map):
    reference = meta.controller_of(config_map)
    return [reference["name"]] if reference and reference["kind"] == "Mirror" else []


if __name__ == "__main__":
    main("mirror-controller", MirrorController)
