"""What can be wrong with a SPDY connection."""

from __future__ import annotations


class SpdyError(Exception):
    """The other side broke the protocol or a limit: the connection ends."""
