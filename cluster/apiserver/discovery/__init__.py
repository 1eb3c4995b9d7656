"""Discovery: what is served, in the old form (one document a version) and in the aggregated one.

Belongs here: documents of resources, of this server and of others behind it, and serving them.
Does not: finding out what others serve.
"""

from cluster.apiserver.discovery.served import CurrentDiscovery, Others, RemoteVersion

__all__ = ["CurrentDiscovery", "Others", "RemoteVersion"]
