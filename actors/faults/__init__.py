"""Seams of real processes that fail: a SIGKILL loses what power cuts lose, links can be cut.

Belongs here: the fault vocabulary of `actors.simulation`, on this machine's files and sockets.
Does not belong here: choosing which fault happens when. Production code never imports this.
"""
