"""HTTP/1.1 over an asyncio transport: parsing, pipelining, streams, limits, time limits.

Belongs here: bytes on a connection. Does not: what a path means or what an object is.
"""
