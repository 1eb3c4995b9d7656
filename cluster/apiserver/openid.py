"""Pages by which others learn to verify service accounts' tokens (OIDC discovery, JWKS)."""

from __future__ import annotations

from cluster.apiserver.authn.service_accounts import Issuer
from cluster.apiserver.http.messages import Request, Response
from cluster.machinery import jwt
from cluster.machinery.codec import json_codec

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/openid/v1/jwks"
PATHS = (DISCOVERY, JWKS)
CACHE = {"Cache-Control": "public, max-age=3600"}


class OpenIdPages:
    """Both documents of one issuer. `jwks_uri` is where clients find the second."""

    def __init__(self, issuer: Issuer, jwks_uri: str) -> None:
        discovery = {
            "issuer": issuer.url,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({k.algorithm for k in issuer.keys}),
        }
        keys = {"keys": [jwt.to_jwk(key) for key in issuer.keys]}
        self._discovery, self._keys = json_codec.encode(discovery), json_codec.encode(keys)

    def answer(self, request: Request) -> Response | None:
        """None for other paths."""
        path = request.path.rstrip("/")
        if path == DISCOVERY:
            return Response(200, self._discovery, headers=dict(CACHE))
        if path == JWKS:
            return Response(200, self._keys, "application/jwk-set+json", dict(CACHE))
        return None
