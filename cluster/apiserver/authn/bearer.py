"""`Authorization: Bearer TOKEN`: several kinds of tokens, each with its own authenticator."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cluster.apiserver.authn.user import Identified, InvalidToken, TokenAuthenticator, User
from cluster.apiserver.http.messages import Request
from cluster.machinery import status

log = logging.getLogger(__name__)

SCHEME = "bearer"


class TokenChain:
    """Asks each in turn; a token that one finds invalid may still be another's."""

    def __init__(self, authenticators: Sequence[TokenAuthenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """None for a token that nobody knows. Raises InvalidToken."""
        problems: list[str] = []
        for authenticator in self._authenticators:
            try:
                found = await authenticator.check(token, audiences)
            except InvalidToken as error:
                problems.append(str(error))
                continue
            if found is not None:
                return found
        if problems:
            raise InvalidToken("; ".join(problems))
        return None


class BearerAuthenticator:
    """A token that is given and not valid is refused: nobody falls back to being anonymous."""

    def __init__(self, tokens: TokenChain, audiences: tuple[str, ...]) -> None:
        self._tokens, self._audiences = tokens, audiences

    async def identify(self, request: Request) -> User | None:
        token = given(request)
        if not token:
            return None
        try:
            found = await self._tokens.check(token, self._audiences)
        except InvalidToken as error:
            log.info("Unable to authenticate the request: %s", error)
            raise status.unauthorized() from None
        if found is None:
            raise status.unauthorized()
        request.headers.pop("authorization", None)  # nobody behind us needs it
        return found.user


def given(request: Request) -> str:
    """The bearer token of a request, or ""."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == SCHEME else ""
