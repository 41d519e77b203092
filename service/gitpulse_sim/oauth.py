"""GitLab as an identity provider: applications, what they were granted, and the claims about users.

As https://docs.gitlab.com/integration/openid_connect_provider/ has it, and Doorkeeper, which GitLab does it with.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from joserfc import jwt
from joserfc.jwk import RSAKey

from gitpulse_sim.people import Role, User
from gitpulse_sim.world import Application, World

CODE_FOR = timedelta(minutes=10)
TOKEN_FOR = timedelta(hours=2)
ID_TOKEN_FOR = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a user let an application have: the code's, and then the access token's."""

    application: Application
    user: User
    scopes: tuple[str, ...]
    expires_at: datetime
    redirect_uri: str = ""
    nonce: str = ""
    challenge: str = ""
    method: str = "plain"

    def proven_by(self, verifier: str) -> bool:
        """Whether this is what the challenge was made of (RFC 7636)."""
        digest = hashlib.sha256(verifier.encode()).digest()
        made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() if self.method == "S256" else verifier
        return self.challenge in ("", made)


@cache
def _key() -> RSAKey:
    """Made when it is first needed, for that takes a while."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)


def jwk() -> Mapping[str, object]:
    """The public half of the key that signs; `kid` is the thumbprint of RFC 7638."""
    return _key().as_dict(private=False)


@dataclass(slots=True)
class Provider:
    """The codes and access tokens that are there."""

    world: World
    codes: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, Grant] = field(default_factory=dict)

    def grant(
        self, application: Application, user: User, scopes: tuple[str, ...], said: dict[str, str], redirect_uri: str
    ) -> str:
        """A code, to be exchanged once."""
        code = secrets.token_hex(32)
        self.codes[code] = Grant(
            application=application, user=user, scopes=scopes, redirect_uri=redirect_uri,
            expires_at=self.world.clock.now() + CODE_FOR, nonce=said.get("nonce", ""),
            challenge=said.get("code_challenge", ""), method=said.get("code_challenge_method", "plain"),
        )  # fmt: skip
        return code

    def exchange(self, application: Application, said: dict[str, str]) -> dict[str, object] | None:
        """The token's answer; None: there is no such grant, or not for whoever asks."""
        now, grant = self.world.clock.now(), self.codes.get(said.get("code", ""))
        if grant is None or grant.application != application or grant.expires_at <= now:
            return None
        if grant.redirect_uri != said.get("redirect_uri") or not grant.proven_by(said.get("code_verifier", "")):
            return None
        del self.codes[said["code"]]
        text = secrets.token_hex(32)
        self.tokens[text] = Grant(
            application=application, user=grant.user, scopes=grant.scopes, expires_at=now + TOKEN_FOR
        )
        answer: dict[str, object] = {
            "access_token": text,
            "token_type": "Bearer",
            "expires_in": int(TOKEN_FOR.total_seconds()),
            "refresh_token": secrets.token_hex(32),
            "scope": " ".join(grant.scopes),
            "created_at": int(now.timestamp()),
        }
        if "openid" in grant.scopes:
            answer["id_token"] = jwt.encode({"alg": "RS256", "kid": _key().kid}, self.id_claims(grant), _key())
        return answer

    def holder(self, text: str) -> Grant | None:
        """Whose access token this is."""
        grant = self.tokens.get(text)
        return grant if grant and grant.expires_at > self.world.clock.now() else None

    def id_claims(self, grant: Grant) -> dict[str, object]:
        """Of an ID token."""
        now = int(self.world.clock.now().timestamp())
        about = {
            "iss": self.world.url,
            "sub": str(grant.user.id),
            "aud": grant.application.uid,
            "exp": now + int(ID_TOKEN_FOR.total_seconds()),
            "iat": now,
            **({"nonce": grant.nonce} if grant.nonce else {}),
            "auth_time": now,
        }
        direct = [it.full_path for it in self.world.groups.values() if grant.user.id in it.members]
        return {**about, **self._claims(grant), "groups_direct": direct}

    def user_info(self, grant: Grant) -> dict[str, object]:
        """What `/oauth/userinfo` says."""
        user, groups = grant.user, self.world.groups.values()
        found = {"sub": str(user.id), **self._claims(grant)}
        found["groups"] = [it.full_path for it in groups if any(user.id in up.members for up in it.lineage())]
        for role in (Role.OWNER, Role.MAINTAINER, Role.DEVELOPER):
            if held := [it.full_path for it in groups if it.members.get(user.id) == role]:
                found[f"https://gitlab.org/claims/groups/{role.name.lower()}"] = held
        return found

    def _claims(self, grant: Grant) -> dict[str, object]:
        """In both; without the scope `email` the address is the public one, and missing where there is none."""
        user, primary = grant.user, "email" in grant.scopes
        email = user.email if primary else user.public_email
        return {
            "sub_legacy": hashlib.sha256(f"{user.id}-simulator".encode()).hexdigest(),
            "name": user.name,
            "nickname": user.username,
            "preferred_username": user.username,
            **({"email": email, "email_verified": user.email_verified if primary else True} if email else {}),
            "profile": f"{self.world.url}/{user.username}",
            "picture": user.avatar,
        }
