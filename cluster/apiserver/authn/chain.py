"""All authenticators in a row, and nobody at the end."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.apiserver.authn.user import NOBODY, Authenticator, User, authenticated
from cluster.apiserver.http.messages import Request
from cluster.machinery import status


class AuthenticatorChain:
    """The first that knows the client decides; 401 if none does and `anonymous` is off."""

    def __init__(self, authenticators: Sequence[Authenticator], *, anonymous: bool = True) -> None:
        self._authenticators, self._anonymous = tuple(authenticators), anonymous

    async def identify(self, request: Request) -> User:
        for authenticator in self._authenticators:
            user = await authenticator.identify(request)
            if user is not None:
                return authenticated(user)
        if not self._anonymous:
            raise status.unauthorized()
        return NOBODY
