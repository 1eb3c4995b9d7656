"""From the claims of a verified token to a user, as a JWTAuthenticator says (pure).

Claims are taken as they are, with a prefix, or by expressions in CEL over `claims`; rules about
`claims` and about the `user` that they make refuse tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.authn.user import Extra, InvalidToken, User
from cluster.machinery.cel import CelError, CompileError, Environment, Meter, Program, types

Object = Mapping[str, Any]
BUDGET = 1_000_000.0
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_DYN_MAP = types.map_of(types.STRING, types.DYN)
_KEY = re.compile(r"[a-z0-9.-]+/[a-z0-9._~!$&'()*+,;=:@%/-]+")


@dataclass(frozen=True)
class _Rule:
    program: Program
    message: str


class ClaimMappings:
    """One for each issuer."""

    def __init__(self, config: Object) -> None:
        """`config`: an entry of `jwt`. Raises ValueError for what cannot be used."""
        mappings = config.get("claimMappings") or {}
        self._username = _Source("username", mappings.get("username") or {})
        self._groups = _Source("groups", mappings.get("groups") or {})
        self._uid = _Source("uid", mappings.get("uid") or {})
        if not self._username:
            raise ValueError("claimMappings.username: claim or expression is required")
        self._extra = [_extra(each) for each in mappings.get("extra") or ()]
        self._required, self._claim_rules = _claim_rules(config.get("claimValidationRules") or ())
        self._user_rules = [
            _Rule(_compiled(each["expression"], "user"), each.get("message") or "")
            for each in config.get("userValidationRules") or ()
        ]
        self._refuse_unverified_email(config)

    def _refuse_unverified_email(self, config: Object) -> None:
        """Who names users by their mail address says what becomes of addresses not verified."""
        expression = self._username.expression
        if "claims.email" not in expression.replace("claims.email_verified", ""):
            return
        rules = [each.get("expression", "") for each in config.get("claimValidationRules") or ()]
        extras = [each["valueExpression"] for each in self._extra_config(config)]
        if not any("claims.email_verified" in text for text in (expression, *rules, *extras)):
            raise ValueError(
                "claims.email_verified must be used in claimMappings.username.expression or "
                "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when "
                "claims.email is used in claimMappings.username.expression"
            )

    def _extra_config(self, config: Object) -> Sequence[Object]:
        return (config.get("claimMappings") or {}).get("extra") or ()

    def user(self, claims: Object) -> User:
        """Raises InvalidToken, with the reason for the log."""
        for name, value in self._required:
            if claims.get(name) != value:
                raise InvalidToken(f"oidc: required claim {name} is not {value!r}")
        _hold(self._claim_rules, {"claims": claims})
        found = User(
            self._name(claims),
            tuple(self._listed(claims)),
            self._identity(claims),
            self._extras(claims),
        )
        _hold(self._user_rules, {"user": _shown(found)})
        return found

    def _name(self, claims: Object) -> str:
        name = self._username.value(claims)
        if not isinstance(name, str) or not name:
            raise InvalidToken("oidc: the token names no user")
        plain = self._username.claim == "email"
        if plain and claims.get("email_verified", True) is not True:
            raise InvalidToken("oidc: email not verified")
        return self._username.prefix + name

    def _listed(self, claims: Object) -> list[str]:
        found = self._groups.value(claims)
        listed = [found] if isinstance(found, str) and found else found or []
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise InvalidToken("oidc: groups are not a list of texts")
        return [self._groups.prefix + group for group in listed]

    def _identity(self, claims: Object) -> str:
        found = self._uid.value(claims) or ""
        if not isinstance(found, str):
            raise InvalidToken("oidc: uid is not a text")
        return found

    def _extras(self, claims: Object) -> Extra:
        found: dict[str, tuple[str, ...]] = {}
        if isinstance(claims.get("jti"), str) and claims["jti"]:
            found[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
        for key, program in self._extra:
            value = _evaluated(program, {"claims": claims})
            values = [value] if isinstance(value, str) and value else value or []
            if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
                raise InvalidToken(f"oidc: extra {key} is not text")
            if values:
                found[key] = tuple(values)
        return tuple(sorted(found.items()))


class _Source:
    """A claim with a prefix, or an expression; false for neither."""

    def __init__(self, what: str, config: Object) -> None:
        self.claim, self.prefix = str(config.get("claim") or ""), str(config.get("prefix") or "")
        self.expression = str(config.get("expression") or "")
        if self.claim and self.expression:
            raise ValueError(f"claimMappings.{what}: claim and expression can't both be set")
        if self.expression and "prefix" in config:
            raise ValueError(f"claimMappings.{what}: prefix can't be set when expression is set")
        if self.claim and what != "uid" and "prefix" not in config:
            raise ValueError(f"claimMappings.{what}: prefix is required when claim is set")
        self._program = _compiled(self.expression, "claims") if self.expression else None

    def __bool__(self) -> bool:
        return bool(self.claim or self.expression)

    def value(self, claims: Object) -> Any:
        if self._program is not None:
            return _evaluated(self._program, {"claims": claims})
        return claims.get(self.claim) if self.claim else None


def _extra(config: Object) -> tuple[str, Program]:
    key = str(config.get("key") or "")
    domain = key.partition("/")[0]
    if not _KEY.fullmatch(key):
        raise ValueError(f"claimMappings.extra: key {key!r} must be a domain-prefixed path")
    if domain.endswith(("kubernetes.io", "k8s.io")):
        raise ValueError(f"claimMappings.extra: the domain of {key!r} is reserved")
    return key, _compiled(str(config.get("valueExpression") or ""), "claims")


def _claim_rules(rules: Sequence[Object]) -> tuple[list[tuple[str, Any]], list[_Rule]]:
    required, found = [], []
    for rule in rules:
        if rule.get("claim") and rule.get("expression"):
            raise ValueError("claimValidationRules: claim and expression can't both be set")
        if rule.get("claim"):
            required.append((rule["claim"], rule.get("requiredValue", "")))
        else:
            program = _compiled(str(rule.get("expression") or ""), "claims")
            found.append(_Rule(program, rule.get("message") or ""))
    return required, found


def _compiled(source: str, variable: str) -> Program:
    try:
        return Environment({variable: _DYN_MAP}).compile(source)
    except CompileError as error:
        raise ValueError(f"{source!r}: compilation failed: {error}") from error


def _evaluated(program: Program, variables: Mapping[str, Any]) -> Any:
    try:
        return program.evaluate(variables, Meter(BUDGET))
    except CelError as error:
        raise InvalidToken(f"oidc: error evaluating {program.source!r}: {error}") from error


def _hold(rules: Sequence[_Rule], variables: Mapping[str, Any]) -> None:
    for rule in rules:
        if _evaluated(rule.program, variables) is not True:
            text = f"validation expression '{rule.program.source}' failed"
            raise InvalidToken(f"oidc: {text}: {rule.message}" if rule.message else f"oidc: {text}")


def _shown(user: User) -> dict[str, Any]:
    return {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra},
    }
