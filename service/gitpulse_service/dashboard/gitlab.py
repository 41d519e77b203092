"""What is asked of the GitLab with which people sign in: OpenID Connect's authorization code flow with PKCE."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from authlib.oidc.core import CodeIDToken
from httpx2 import HTTPError, InvalidURL, create_ssl_context
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gitpulse_service.dashboard.config import SignIn
from gitpulse_service.dashboard.door import Closed
from gitpulse_service.metrics_api.caller import Parts
from gitpulse_service.store.sessions import Account

logger = logging.getLogger(__name__)

CALLBACK = "/signin/callback"
SCOPE = "openid email"
"""`openid` has the user name and the groups, in GitLab; `email` the primary address in the place of the public one."""
TIMEOUT = 10.0
"""Seconds for each step of a request to GitLab."""
AT_ONCE = 8
"""Of those who sign in, how many have GitLab asked at a time; more wait."""
LEEWAY = 60
"""Seconds by which the clocks of GitLab and of this machine may differ."""


class GitLab:
    """Asks it. Everything raises Closed where GitLab is away or refuses."""

    def __init__(self, sign_in: SignIn, parts: Parts) -> None:
        self._sign_in, self._parts = sign_in, parts
        self._tls: ssl.SSLContext | None = None
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where somebody is sent to say who they are."""
        with _refusing():
            async with self._turn, self._client() as client:
                endpoint = (await self._metadata(client))["authorization_endpoint"]
                url, _ = client.create_authorization_url(endpoint, state=state, nonce=nonce, code_verifier=verifier)
                return str(url)

    async def account(self, code: str, nonce: str, verifier: str) -> Account:
        """Who has come back with this code."""
        sign_in = self._sign_in
        with _refusing():
            async with self._turn, self._client() as client:
                metadata = await self._metadata(client)
                token = await client.fetch_token(
                    metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=verifier
                )
                keys = await self._asked(client, metadata["jwks_uri"])
                claims = verified(token["id_token"], keys, sign_in, nonce, token["access_token"])
                told = await _get(client, metadata["userinfo_endpoint"])
            if told["sub"] != claims["sub"]:
                raise _wrong("it tells of another user than its ID token does")
            told = {**told, **claims}
            email = told.get("email") if told.get("email_verified") is True else None
            groups = sign_in.deciding(told.get("groups"))
            return Account(sign_in.issuer, str(told["sub"]), str(told["preferred_username"]), email, groups)

    def _client(self) -> AsyncOAuth2Client:
        sign_in, self._tls = self._sign_in, self._tls or create_ssl_context()  # reading all the CAs takes its time
        return AsyncOAuth2Client(
            sign_in.client_id,
            sign_in.client_secret,
            scope=SCOPE,
            redirect_uri=sign_in.url + CALLBACK,
            code_challenge_method="S256",
            timeout=TIMEOUT,
            verify=self._tls,
        )

    async def _metadata(self, client: AsyncOAuth2Client) -> Mapping[str, Any]:
        found = await self._asked(client, f"{self._sign_in.issuer}/.well-known/openid-configuration")
        if found["issuer"] != self._sign_in.issuer:
            raise _wrong(f"it calls itself {found['issuer']}; is GITPULSE_OIDC_ISSUER right?")
        return found

    async def _asked(self, client: AsyncOAuth2Client, url: str) -> Mapping[str, Any]:
        """What hardly changes; so that who begins a sign-in again and again has GitLab asked twice a minute."""
        found: Mapping[str, Any] = await self._parts.remember(
            ("gitlab", url), partial(_get, client, url, withhold_token=True)
        )
        return found


async def _get(client: AsyncOAuth2Client, url: str, **how: bool) -> Mapping[str, Any]:
    found = (await client.request("GET", url, **how)).raise_for_status().json()
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- as JSON that is none
    return found


def verified(
    id_token: str, keys: Mapping[str, Any], sign_in: SignIn, nonce: str, access_token: str | None = None
) -> Mapping[str, Any]:
    """The claims of an ID token that this GitLab made now, for us and this sign-in. Raises JoseError, ValueError."""
    token = jwt.decode(id_token, KeySet.import_key_set(dict(keys)), algorithms=["RS256"])  # type: ignore[arg-type]
    wanted = {
        "iss": {"essential": True, "value": sign_in.issuer},
        "aud": {"essential": True, "value": sign_in.client_id},
    }
    params = {"nonce": nonce, "client_id": sign_in.client_id, "access_token": access_token}
    claims: Mapping[str, Any] = CodeIDToken(token.claims, token.header, wanted, params)
    claims.validate(leeway=LEEWAY)  # type: ignore[attr-defined]
    return claims


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Makes a page of what goes wrong. Neither page nor log has what was sent or answered: it may hold secrets."""
    try:
        yield
    except OAuthError as error:
        raise refused(error.error) from None
    except JoseError as error:
        raise _wrong(f"its ID token is not valid ({error.error})") from None
    except (HTTPError, InvalidURL) as error:
        logger.warning("GitLab does not answer a sign-in: %s: %s", type(error).__name__, str(error).partition("\n")[0])
        detail = "GitLab does not answer, so nobody can sign in now; who is signed in already stays so. Try again."
        raise Closed(HTTPStatus.SERVICE_UNAVAILABLE, "GitLab is away", detail, sign_in=True) from None
    except (ValueError, KeyError) as error:
        raise _wrong(f"its answer is not as OpenID Connect has it ({type(error).__name__})") from None


def refused(error: str) -> Closed:
    """What GitLab's error means, in OAuth's words."""
    known = {
        "access_denied": "You did not let GitPulse know who you are. It asks for nothing but that.",
        "invalid_grant": "GitLab did not take the code that it gave: it was used before, or is too old. Sign in again.",
        "invalid_scope": f"The application in GitLab must have the scopes {SCOPE.replace(' ', ' and ')}; add them.",
        "invalid_client": "GitLab does not take GITPULSE_OIDC_CLIENT_ID with GITPULSE_OIDC_CLIENT_SECRET; give those "
        "of the application in GitLab.",
    }
    said = error if error.replace("_", "").isalnum() and len(error) < 50 else "an error that is none of OAuth's"
    logger.warning("GitLab refused a sign-in: %s", said)
    detail = known.get(said, f"GitLab said: {said}. docs/sign-in.md shows how the application is made.")
    return Closed(HTTPStatus.FORBIDDEN, "GitLab did not sign you in", detail, sign_in=True)


def _wrong(why: str) -> Closed:
    logger.warning("GitLab's answer to a sign-in is not believed: %s", why)
    detail = f"GitLab's answer is not believed: {why}. Sign in again; if it stays so, tell whoever runs GitPulse."
    return Closed(HTTPStatus.BAD_GATEWAY, "GitLab did not sign you in", detail, sign_in=True)
