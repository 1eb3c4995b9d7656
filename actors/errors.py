"""Errors of the actor layer."""


class ActorError(Exception):
    """Base of everything that this layer raises."""


class ComponentFailed(ActorError):
    """A component raised while starting or was reported unhealthy for too long."""


class Unreachable(ActorError):
    """The other side could not be reached: nothing was sent."""


class NotFound(ActorError):
    """No actor of that name exists in this cluster."""


class HostUnavailable(ActorError):
    """The host (Ray, usually) could not be started or joined; the message says the next step."""
