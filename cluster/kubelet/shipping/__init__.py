"""Sends the logs of a node's pods to a central place: JSON lines or OTLP over HTTP.

`records` is pure, `positions` remembers how far each log was sent, `shipper` reads and sends.
The logs on disk are the only buffer: what is rotated away before it could be sent is lost. What
was sent when the node died may be sent twice.
"""
