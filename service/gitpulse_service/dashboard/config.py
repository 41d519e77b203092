"""How people sign in, from the settings: with which GitLab, as what, and who sees all."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from gitpulse_service.contract import SettingsError
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.keys import fold
from gitpulse_service.store.sessions import Account

GROUP = "group:"
"""What a group begins with among those who see all."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """With which GitLab people sign in, and as what GitPulse asks it."""

    issuer: str
    """The GitLab's URL, without a slash behind it."""
    client_id: str
    client_secret: str = field(repr=False)
    url: str
    """Where people open the dashboard: scheme, host and perhaps a port."""
    admins: frozenset[str]
    """User names, and groups behind `GROUP`, folded."""

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self | None:
        """None where nobody is to sign in. Raises SettingsError where that is half said."""
        secret = settings.oidc_client_secret.get_secret_value()
        given = {
            "GITPULSE_OIDC_ISSUER": settings.oidc_issuer,
            "GITPULSE_OIDC_CLIENT_ID": settings.oidc_client_id,
            "GITPULSE_OIDC_CLIENT_SECRET": secret,
            "GITPULSE_DASHBOARD_URL": settings.dashboard_url,
        }
        admins = frozenset(fold(it) for it in settings.dashboard_admins.replace(",", " ").split())
        if not (admins or any(given.values())):
            return None
        wrong = [f"{name}: is not set; signing in needs all of {', '.join(given)}" for name in given if not given[name]]
        wrong += filter(
            None, (_wrong(name, given[name]) for name in ("GITPULSE_OIDC_ISSUER", "GITPULSE_DASHBOARD_URL"))
        )
        if "/" in settings.dashboard_url.partition("://")[2]:
            wrong.append("GITPULSE_DASHBOARD_URL: must be a host without a path; give the dashboard a host of its own")
        if not settings.api_tokens_required:
            wrong.append("GITPULSE_API_TOKENS_REQUIRED: false has the API tell anyone what people sign in for")
        if wrong:
            raise SettingsError("\n".join(wrong))
        return cls(settings.oidc_issuer, settings.oidc_client_id, secret, settings.dashboard_url, admins)

    @property
    def secure(self) -> bool:
        """Whether cookies are for TLS alone."""
        return self.url.startswith("https://")

    @property
    def cookie(self) -> str:
        """The session's cookie; by its prefix browsers take it from this host over TLS alone, for all paths."""
        return "__Host-gitpulse" if self.secure else "gitpulse"

    def deciding(self, groups: object) -> frozenset[str]:
        """Of somebody's groups, as GitLab tells them, those by which they see all."""
        told = groups if isinstance(groups, list) else []
        return frozenset(it for it in told if isinstance(it, str) and fold(GROUP + it) in self.admins)

    def sees_all(self, account: Account) -> bool:
        """Whether it is one of those who do, as the settings are now."""
        return fold(account.username) in self.admins or bool(self.deciding([*account.groups]))


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, and can be nobody else's."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(name: str, url: str) -> str | None:
    """What is wrong with a URL that is given."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"{name}: is no URL; write it like https://gitlab.example.com"
    if url and (not host or parts.username is not None or parts.query or parts.fragment):
        return f"{name}: must be like https://gitlab.example.com, with nothing of a login, query or fragment"
    if url and parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return f"{name}: must begin with https://, for whoever listens would be let in; http:// is for loopback alone"
    return None
