"""Admission: what the cluster adds to a write or forbids, whatever the kind's own rules say.

`chain` runs the plugins: first those that may change the object, then, once the kind's own rules
have passed it, those that judge it as it will be stored. A plugin is one function of a `Review`;
`compose` lists them in their order. Webhooks and policies are `registered`: read from the watch
caches, so that all API servers agree. Does not belong here: field rules
(`cluster.machinery.validation`). The existence of the namespace is checked inside the storing
transaction (`cluster.storage.namespace_guard`).
"""
