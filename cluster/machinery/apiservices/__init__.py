"""APIServices as values: who serves a group and version, and which groups come first.

Belongs here: reading an APIService, the ones that stand for what this server serves itself, the
order of groups and versions. Does not: finding out whether a server answers, and calling it.
"""

from cluster.machinery.apiservices.service import AVAILABLE, KEY, ApiService, parse

__all__ = ["AVAILABLE", "KEY", "ApiService", "parse"]
