"""The API server: HTTPS in, objects of `cluster.storage` out.

Belongs here: HTTP, routing, who may do what, discovery, what each verb means on the wire.
Does not: how objects are kept (`cluster.storage`), what an object may look like
(`cluster.machinery`), and anything that a controller does.
"""
