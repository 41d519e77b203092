"""Who is there: users, their roles, and the tokens that they show to the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from zoneinfo import ZoneInfo

from gitpulse_sim.repository import Person


class Role(IntEnum):
    """GitLab's access levels."""

    NONE = 0
    GUEST = 10
    REPORTER = 20
    DEVELOPER = 30
    MAINTAINER = 40
    OWNER = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person with an account. `email` is what their commits carry; it is in no payload unless it is public."""

    id: int
    username: str
    name: str
    email: str
    public_email: str = ""
    email_verified: bool = True
    """False, for example, of the address that an account gets which was made through another provider without one."""
    bot: bool = False
    zone: str = "UTC"
    """Where they work."""
    encoding: str = "utf-8"
    """In which their git writes their name."""

    @property
    def git(self) -> Person:
        """As whom they commit."""
        return Person(self.name, self.email, self.encoding)

    def local(self, at: datetime) -> datetime:
        """That moment on their own clock."""
        return at.astimezone(ZoneInfo(self.zone))

    @property
    def shown_email(self) -> str:
        return self.public_email or "[REDACTED]"

    @property
    def avatar(self) -> str:
        return f"https://www.gravatar.com/avatar/{self.id:032x}?s=80&d=identicon"


@dataclass(slots=True, kw_only=True)
class AccessToken:
    """A personal access token (or a project's or group's, which is one of a bot user)."""

    id: int
    user: User
    name: str = "token"
    text: str = field(repr=False)
    scopes: tuple[str, ...] = ("api",)
    created_at: datetime
    expires_at: date | None = None
    revoked: bool = False

    def expired(self, now: datetime) -> bool:
        """A token ends at midnight UTC at the beginning of its day."""
        return self.expires_at is not None and now.date() >= self.expires_at
