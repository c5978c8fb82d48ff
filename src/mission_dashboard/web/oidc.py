"""Logging in with an OpenID Connect provider: the authorization code flow with PKCE (RFC 7636).

Authlib speaks the protocol; joserfc, which it is built on, checks the signatures of what the provider says.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.wrappers import Response as AnyResponse

from mission_dashboard.access.scopes import Role
from mission_dashboard.access.service import Access
from mission_dashboard.config import RoleRule, Settings
from mission_dashboard.web.answers import problem
from mission_dashboard.web.login import entered

logger = logging.getLogger(__name__)

Limit = Callable[[Callable[..., Any]], Callable[..., Any]]
FLOW_COOKIE = "mission_dashboard_oidc"
SECURE_FLOW_COOKIE = f"__Host-{FLOW_COOKIE}"
"""Over HTTPS: one that a neighbouring domain can set would log people in as whoever it likes."""
FLOW_S = 600
"""How long a person may take at the provider."""
METADATA_S = 3600
TIMEOUT_S = 10.0
LEEWAY_S = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Those with a public key: a provider's keys are public, so nothing else proves anything."""


class ProviderFailed(Exception):
    """The provider does not answer, or what it says cannot be believed; the message says what."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider names."""

    subject: str
    name: str
    claims: Mapping[str, Any]


class Provider:
    """The identity provider of the settings; its addresses and keys are asked for when they are needed."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._metadata: tuple[float, Mapping[str, Any]] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Provider | None:
        """Return the provider that the settings name, if they do."""
        if not settings.oidc_issuer:
            return None
        return cls(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret)

    @property
    def name(self) -> str:
        """What people read on the button."""
        return urlsplit(self._issuer).hostname or self._issuer

    def begin(self, callback: str) -> tuple[str, dict[str, str]]:
        """Return where to send a person, and what must be remembered until it comes back."""
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        with self._client(callback) as client:
            address, state = client.create_authorization_url(
                self._known("authorization_endpoint"), nonce=nonce, code_verifier=verifier
            )
        return str(address), {"state": str(state), "nonce": nonce, "verifier": verifier}

    def finish(self, callback: str, code: str, remembered: Mapping[str, str]) -> Person:
        """Return who came back with this code; raise `ProviderFailed`."""
        try:
            with self._client(callback) as client:
                token = client.fetch_token(
                    self._known("token_endpoint"),
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=remembered["verifier"],
                )
        except _errors_of_tokens() as error:
            raise ProviderFailed(f"the provider refused: {error}") from error
        return self._person(str(token.get("id_token") or ""), remembered["nonce"])

    def _person(self, id_token: str, nonce: str) -> Person:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            keys = KeySet.import_key_set(self._fetch(str(self._known("jwks_uri"))))  # type: ignore[arg-type]
            claims = jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_S,
                iss={"essential": True, "value": self._known("issuer")},
                aud={"essential": True, "value": self._client_id},
                exp={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise ProviderFailed(f"the provider's token cannot be believed: {error}") from error
        email = claims.get("email") if _may_be_its_email(claims) else None
        name = email or claims.get("preferred_username") or claims.get("name") or claims["sub"]
        shown = "".join(sign if sign.isprintable() else "?" for sign in str(name)[:200])
        return Person(f"oidc:{claims['sub']}", shown, claims)

    def _client(self, callback: str) -> Any:
        from authlib.integrations.httpx_client import OAuth2Client

        return OAuth2Client(
            client_id=self._client_id,
            client_secret=self._client_secret or None,
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
            scope="openid email profile",
            redirect_uri=callback,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )

    def _known(self, name: str) -> str:
        """Return one entry of the provider's discovery document."""
        if self._metadata is None or time.monotonic() - self._metadata[0] > METADATA_S:
            said = self._fetch(f"{self._issuer}/.well-known/openid-configuration")
            if str(said.get("issuer", "")).rstrip("/") != self._issuer:
                raise ProviderFailed(f"the provider at {self._issuer} calls itself {said.get('issuer')!r}")
            self._metadata = (time.monotonic(), said)
        found = self._metadata[1].get(name)
        if not isinstance(found, str):
            raise ProviderFailed(f"the provider does not name its {name}")
        return found

    def _fetch(self, address: str) -> Mapping[str, Any]:
        import httpx

        try:
            answered = httpx.get(address, timeout=TIMEOUT_S)
            answered.raise_for_status()
            said = answered.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderFailed(f"the provider does not answer at {address}: {error}") from error
        if not isinstance(said, dict):
            raise ProviderFailed(f"the provider's answer at {address} is no JSON object")
        return said


def make_oidc(access: Access, provider: Provider, settings: Settings, limit: Limit) -> Blueprint:
    """Return the blueprint of the two addresses: where the button leads, and where the provider sends people back.

    ``limit`` decorates them: each call may ask the provider something.
    """
    oidc = Blueprint("oidc", __name__, url_prefix="/auth/oidc")
    sealed = URLSafeTimedSerializer(settings.secret_key, salt="oidc-flow")

    def is_secure() -> bool:
        return settings.is_production or request.is_secure

    def flow_cookie() -> str:
        return SECURE_FLOW_COOKIE if is_secure() else FLOW_COOKIE

    @oidc.get("/start")
    @limit
    def start() -> AnyResponse:
        try:
            address, remembered = provider.begin(_callback())
        except ProviderFailed as error:
            return _failed(error)
        going = redirect(address, 303)
        going.set_cookie(
            flow_cookie(),
            sealed.dumps({**remembered, "next": request.args.get("next", "/")[:2000]}),
            max_age=FLOW_S,
            httponly=True,
            samesite="Lax",
            secure=is_secure(),
            path="/",
        )
        return going

    @oidc.get("/callback")
    @limit
    def callback() -> AnyResponse:
        try:
            remembered = sealed.loads(request.cookies.get(flow_cookie(), ""), max_age=FLOW_S)
        except BadSignature:
            return problem(400, "Log in again", "This login is too old, or began in another browser. Go to /login.")
        if request.args.get("state") != remembered["state"]:
            return problem(400, "Log in again", "This answer belongs to another login. Go to /login.")
        code = request.args.get("code")
        if not code:
            return problem(400, "Log in again", "The provider let nobody in. Go to /login.")
        try:
            person = provider.finish(_callback(), code, remembered)
        except ProviderFailed as error:
            return _failed(error)
        role = role_of(person.claims, settings.oidc_roles)
        if role is None:
            logger.warning("%s logged in at %s but has no role here", person.subject, provider.name)
            detail = f"{person.name} has no role here. An admin can give one in MISSION_DASHBOARD_OIDC_ROLES."
            return problem(403, "Not allowed", detail)
        session, cookie = access.log_in_person(person.subject, person.name, role, request.remote_addr or "-")
        going = entered(session, cookie, str(remembered["next"]), is_secure=settings.is_production)
        going.delete_cookie(flow_cookie(), path="/", secure=is_secure(), httponly=True, samesite="Lax")
        return going

    return oidc


def _errors_of_tokens() -> tuple[type[Exception], ...]:
    """Return what asking for a token raises. Authlib asks with httpx2 where it is there, whose errors are others."""
    import httpx
    from authlib.common.errors import AuthlibBaseError
    from authlib.integrations.httpx_client import oauth2_client

    of_its_client = getattr(oauth2_client, "httpx2", httpx).HTTPError
    return (httpx.HTTPError, of_its_client, AuthlibBaseError, ValueError)  # ValueError: what it said is no token


def _callback() -> str:
    return f"{request.scheme}://{request.host}/auth/oidc/callback"


def _failed(error: ProviderFailed) -> Response:
    logger.warning("logging in failed: %s", error)
    return problem(502, "The identity provider failed", f"Logging in failed: {error}. Try again, or tell an admin.")


def _may_be_its_email(claims: Mapping[str, Any]) -> bool:
    """Whether the provider does not say that anybody could have typed this address; some say so in text."""
    return claims.get("email_verified", True) in (True, "true", "True")


def role_of(claims: Mapping[str, Any], rules: tuple[RoleRule, ...]) -> Role | None:
    """Return the role of the first rule that fits what the provider says of a person.

    An e-mail address counts only where the provider says that it is verified, or does not say.
    """
    for rule in rules:
        if rule.value == "*" and not rule.claim:
            return Role(rule.role)
        held = claims.get(rule.claim)
        if rule.claim == "email" and not _may_be_its_email(claims):
            continue
        if rule.value == held or (isinstance(held, list) and rule.value in held):
            return Role(rule.role)
    return None
