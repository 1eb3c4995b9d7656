"""The client side of the API: transport, verbs, informers, queues, leader election, events.

Belongs here: whatever a component needs to read, follow and write objects over HTTP. Does not
belong here: decisions about particular kinds of objects (controllers, scheduler, kubelet), and
anything that a server does.
"""

from cluster.client.config import ClientConfig
from cluster.client.elected import Elected
from cluster.client.errors import ClientError, Closed, UnknownOutcome, Unreachable
from cluster.client.events import EventRecorder
from cluster.client.informer import Informer
from cluster.client.leader_election import LeaderElector
from cluster.client.rest import Client
from cluster.client.workqueue import QueueClosed, WorkQueue

__all__ = [
    "Client",
    "ClientConfig",
    "ClientError",
    "Closed",
    "Elected",
    "EventRecorder",
    "Informer",
    "LeaderElector",
    "QueueClosed",
    "UnknownOutcome",
    "Unreachable",
    "WorkQueue",
]
