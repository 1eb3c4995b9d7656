"""Devices that drivers publish and claims ask for (dynamic resource allocation). Pure.

Belongs here: what devices a node has, which of them a request selects, and finding a set that
satisfies all claims of a pod. Does not belong here: how the scheduler's plugin writes it down.
"""
