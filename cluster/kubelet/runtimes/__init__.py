"""Runtimes: what turns a container's description into something that runs.

Belongs here: one module per runtime behind the interface of `base`, and in `helpers` the little
programs that live outside the kubelet's process. Does not belong here: anything that knows the
API server, restart policies or probes.
"""
