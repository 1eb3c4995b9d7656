"""Connections that were upgraded from HTTP: SPDY/3.1 and WebSocket, and bytes between them.

Belongs here: frames, streams, back-pressure. Pure: `spdy.headers`, `spdy.frames`, `spdy.session`.
Does not belong here: what the bytes mean (exec, port-forward), who may send them, HTTP itself.
"""
