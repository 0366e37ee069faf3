"""What OAuth's clients read first: where everything is, and the keys of the tokens."""

from typing import Any

from msgspec import Struct

from tradewind.contexts.identity.commands import SCOPES
from tradewind.contexts.identity.commands.oauth import ABOUT_PEOPLE, GRANT_TYPES
from tradewind.contexts.identity.problems import AnotherIssuer
from tradewind.kernel.answers import Answer
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Route, Whose
from tradewind.platform.security.issuing import Issuer
from tradewind.platform.security.keyring import NoSigningKey

# Keys are made known a day before they sign, so an hour in somebody's cache does no harm.
KEPT_FOR_AN_HOUR = "public, max-age=3600"


# What is the same for every installation.
ABILITIES: dict[str, Any] = {
    "scopes_supported": (*ABOUT_PEOPLE, *SCOPES),
    "response_types_supported": ("code",),
    "response_modes_supported": ("query",),
    "grant_types_supported": GRANT_TYPES,
    "token_endpoint_auth_methods_supported": (
        "client_secret_basic",
        "client_secret_post",
        "self_signed_tls_client_auth",
        "none",
    ),
    "introspection_endpoint_auth_methods_supported": (
        "client_secret_basic",
        "client_secret_post",
        "self_signed_tls_client_auth",
    ),
    "revocation_endpoint_auth_methods_supported": (
        "client_secret_basic",
        "client_secret_post",
        "self_signed_tls_client_auth",
        "none",
    ),
    "code_challenge_methods_supported": ("S256",),
    "subject_types_supported": ("public",),
    "id_token_signing_alg_values_supported": ("ES256",),
    "claims_supported": (
        "sub",
        "iss",
        "aud",
        "exp",
        "iat",
        "auth_time",
        "nonce",
        "at_hash",
        "sid",
        "amr",
        "name",
        "email",
        "email_verified",
    ),
    "prompt_values_supported": ("none", "login", "consent"),
    "authorization_response_iss_parameter_supported": True,
    "request_parameter_supported": False,
    "request_uri_parameter_supported": False,
    "claims_parameter_supported": False,
}


class Discovery(Struct, frozen=True, kw_only=True):
    """Where OAuth's endpoints are and what they can do (RFC 8414, OpenID Connect Discovery)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    device_authorization_endpoint: str
    end_session_endpoint: str
    scopes_supported: tuple[str, ...]
    response_types_supported: tuple[str, ...]
    response_modes_supported: tuple[str, ...]
    grant_types_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    introspection_endpoint_auth_methods_supported: tuple[str, ...]
    revocation_endpoint_auth_methods_supported: tuple[str, ...]
    code_challenge_methods_supported: tuple[str, ...]
    subject_types_supported: tuple[str, ...]
    id_token_signing_alg_values_supported: tuple[str, ...]
    claims_supported: tuple[str, ...]
    prompt_values_supported: tuple[str, ...]
    tls_client_certificate_bound_access_tokens: bool
    authorization_response_iss_parameter_supported: bool
    request_parameter_supported: bool
    request_uri_parameter_supported: bool
    claims_parameter_supported: bool


class KeySet(Struct, frozen=True):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, Any]]


def own(request: Request) -> Issuer:
    """What makes tokens here. Raises `AnotherIssuer` where somebody else does."""
    if request.issuer is None:
        raise AnotherIssuer(f"Ask {request.node.settings.oidc_issuer}.")
    return request.issuer


async def get_discovery(request: Request) -> Answer:
    """Say where OAuth's endpoints are and what they can do."""
    url = own(request).url
    return Answer(
        body=Discovery(
            issuer=url,
            authorization_endpoint=f"{url}/oauth/authorize",
            token_endpoint=f"{url}/oauth/token",
            jwks_uri=f"{url}/oauth/jwks",
            userinfo_endpoint=f"{url}/oauth/userinfo",
            introspection_endpoint=f"{url}/oauth/introspect",
            revocation_endpoint=f"{url}/oauth/revoke",
            device_authorization_endpoint=f"{url}/oauth/device_authorization",
            end_session_endpoint=f"{url}/oauth/logout",
            tls_client_certificate_bound_access_tokens=bool(
                request.node.settings.client_certificate_header
            ),
            **ABILITIES,
        )
    )


async def get_openid_discovery(request: Request) -> Answer:
    """Say where OpenID Connect's endpoints are and what they can do."""
    return await get_discovery(request)


async def get_jwks(request: Request) -> Answer:
    """Show the keys that tokens are signed with: today's, the next one, and the ones before."""
    keys = await own(request).keyring.documents()
    return Answer(body=KeySet([dict(key) for key in keys]))


ROUTES = (
    Route(
        method="GET",
        path="/.well-known/openid-configuration",
        handler=get_openid_discovery,
        summary="OpenID Connect discovery.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        answers={200: Discovery},
        problems=(AnotherIssuer,),
        cache=KEPT_FOR_AN_HOUR,
        tag="oauth",
    ),
    Route(
        method="GET",
        path="/.well-known/oauth-authorization-server",
        handler=get_discovery,
        summary="OAuth discovery.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        answers={200: Discovery},
        problems=(AnotherIssuer,),
        cache=KEPT_FOR_AN_HOUR,
        tag="oauth",
    ),
    Route(
        method="GET",
        path="/oauth/jwks",
        handler=get_jwks,
        summary="Keys of tokens.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        answers={200: KeySet},
        problems=(AnotherIssuer, NoSigningKey),
        cache=KEPT_FOR_AN_HOUR,
        tag="oauth",
    ),
)
