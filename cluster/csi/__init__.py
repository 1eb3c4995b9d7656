"""CSI v1: the messages (`csi.proto`, written from field numbers) and how drivers are called.

Belongs here: what kubelet and controllers both need to speak to a driver behind a Unix socket.
Does not: what they ask it, and when.
"""
