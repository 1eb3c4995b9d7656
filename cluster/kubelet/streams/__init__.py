"""Exec, attach and port-forward: what clients send over upgraded connections, and whom it reaches.

Belongs here: the remote command protocols (SPDY v4 to v1, WebSocket v5, v4, and those in base64)
and the port-forward protocols. Does not belong here: frames (`cluster.streaming`), and how a
command runs in a container (`runtimes.interactive`).
"""
