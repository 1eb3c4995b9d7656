"""All authenticators in a row, and nobody at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.apiserver.authn.user import NOBODY, Authenticator, User, authenticated
from cluster.apiserver.http.messages import Request
from cluster.machinery import status


class AuthenticatorChain:
    """The first that knows the client decides; 401 if none does and `nobody` may not ask for the
    path.
    """

    def __init__(
        self, authenticators: Sequence[Authenticator], nobody: Callable[[str], bool]
    ) -> None:
        self._authenticators, self._nobody = tuple(authenticators), nobody

    async def identify(self, request: Request) -> User:
        for authenticator in self._authenticators:
            user = await authenticator.identify(request)
            if user is not None:
                return authenticated(user)
        if not self._nobody(request.path):
            raise status.unauthorized()
        return NOBODY
