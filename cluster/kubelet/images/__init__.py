"""Images of a node: names, a content-addressed store, registries, unpacking, and when to pull.

Belongs here: all that turns the name of an image into a folder on this machine, or lets the
kubelet ask a runtime for it. Does not belong here: how a container runs on it (`runtimes`).
"""
