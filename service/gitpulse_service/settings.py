"""The service's settings, read from the environment once, at start.

Every field's docstring says unit, default and reason; `docs/settings.md` is made from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from gitpulse_service.contract import InstallationKey, SettingsError, SharedSettings


def _check_database_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgresql+asyncpg://", "sqlite:///", "sqlite+aiosqlite:///")):
        raise ValueError("must start with postgresql:// or sqlite:///")
    return url


Url = Annotated[str, AfterValidator(lambda url: url.rstrip("/"))]
DatabaseUrl = Annotated[str, AfterValidator(_check_database_url)]
Forgotten = Literal[
    "push",
    "commit",
    "merge_request",
    "review",
    "issue",
    "reopening",
    "pipeline",
    "job",
    "deployment",
    "release",
]


class ServiceSettings(SharedSettings):
    """What receiver and worker can be told."""

    installation_key: InstallationKey | None = Field(default=None, repr=False)
    """Opens the directory of managed hooks: 32 bytes in base64, the operator's own key.

    Without it a receiver serves only the hook made by hand, and a worker fills no gaps from GitLab's API.
    """

    gitlab_webhook_secret: SecretStr | None = Field(default=None, validation_alias="GITLAB_WEBHOOK_SECRET")
    """Secret of a hook configured by hand: a plain token, or a signing token, which begins with `whsec_`."""

    gitlab_url: Url = ""
    """GitLab that workers ask for what deliveries do not tell, as it names itself in `X-Gitlab-Instance`.

    For hooks made by hand; the operator lets workers ask through its GitLabConnections.
    """

    gitlab_token: SecretStr = SecretStr("")
    """Token for it, with the scope `read_api`, of somebody who sees the projects' code, issues and pipelines."""

    gitlab_requests_per_second: float = Field(default=2.5, gt=0)
    """Requests a second to it, of all workers together."""

    check_projects: int = Field(default=20, ge=0)
    """Projects of each GitLab whose last week is compared with GitLab each night; what differs is repaired. 0: none."""

    database_url: DatabaseUrl | None = Field(default=None, repr=False)  # it may hold a password
    """Where the numbers are kept: `postgresql://…` or `sqlite:///file`. `?sslmode=…` and its like as in libpq.

    The worker needs it; a receiver that has it serves the query API too.
    """

    api_tokens_required: bool = True
    """Whether the query API answers only who shows a token (`gitpulse tokens create`). `false`: it tells anyone all."""

    oidc_issuer: Url = ""
    """GitLab with which people sign in to the dashboard, `https://gitlab.example.com`. Empty, the default: nobody can.

    See `docs/sign-in.md`. What begins with `http://` is taken on a loopback address alone.
    """

    oidc_client_id: str = ""
    """Application ID that this GitLab shows for GitPulse."""

    oidc_client_secret: SecretStr = SecretStr("")
    """Secret that this GitLab showed for it, once."""

    dashboard_url: Url = ""
    """Where people open the dashboard, `https://gitpulse.example.com`. GitLab sends them back to `/signin/callback`.

    It is a host without a path. No request is asked for it, for anyone can write a `Host` header.
    """

    dashboard_admins: str = ""
    """Who sees all: user names in that GitLab, and groups as `group:acme/leads`, separated by commas or blanks.

    Everybody else sees the teams that they are a member of.
    """

    team_series: int = Field(default=0, ge=0)
    """Most Prometheus series about teams that a worker exports; 0, the default, means none.

    Ten metrics for each team, over the last seven days; see `docs/api.md`. What is over the limit is left out.
    """

    allowed_addresses: str = ""
    """Who may deliver: addresses or CIDRs, separated by commas or blanks. Empty, the default, means anyone.

    Deliveries from elsewhere get 403. With a proxy in front, name it in `GITPULSE_TRUSTED_PROXIES` too.
    """

    trusted_proxies: str = ""
    """Whose `X-Forwarded-For` is believed: addresses or CIDRs, separated by commas or blanks. Empty: nobody's.

    The client is the last entry that is none of these. So name proxies only, not a network that clients are in.
    """

    refused_limit: str = "100/minute"
    """How many refused deliveries an address (of IPv6, a /64) may send; more get 429 instead of 401. Empty: no limit.

    Authentic deliveries are not counted.
    """

    hook_limit: str = ""
    """How many authentic deliveries a hook may send, such as `1000/minute`. More get 429 and are not stored.

    Empty, the default, means no limit. GitLab switches off hooks that get 429 again and again.
    """

    partitions: int = Field(default=16, ge=1, le=256)
    """Queues of the event log. Receivers and workers must agree; lower it only with an empty log."""

    max_body_bytes: int = Field(default=25 * 1024 * 1024, ge=1024)
    """Largest body accepted, bytes; GitLab itself sends no more than 25 MiB."""

    max_bytes_in_flight: int = Field(default=128 * 1024 * 1024, ge=1024)
    """Bytes of bodies that one receiver holds at once, beyond the first 64 KiB of each; above it answers 503.

    There is always room for one body of the largest size.
    """

    dedupe_window: int = Field(default=3600, ge=60)
    """Seconds for which the log remembers a delivery id. The database knows it for good."""

    max_backlog: int = Field(default=1_000_000, ge=1000)
    """Deliveries waiting before the receiver answers 503 instead of filling Redis."""

    max_backlog_bytes: int = Field(default=1024**3, ge=1024**2)
    """Bytes waiting, as they are stored (compressed to about a fifth), before the receiver answers 503.

    1 GiB is 50 minutes of the most that one gitlab.com namespace sends. Redis needs half as much again beside it: give
    it a `maxmemory` above that, for a Redis that is out of memory stops workers too.
    """

    batch_events: int = Field(default=500, ge=1, le=10_000)
    """Most deliveries a drain writes in one transaction."""

    batch_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """About the most bytes of bodies in one transaction."""

    claim_idle: float = Field(default=30.0, gt=0)
    """Seconds after which another worker takes over what a dead one held. Longer than the slowest batch."""

    raw_retention_days: int = Field(default=30, ge=0)
    """Days for which raw deliveries are kept, so that numbers can be recomputed; in PostgreSQL whole days, of UTC."""

    retention_days: dict[Forgotten, Annotated[int, Field(ge=1)]] = Field(default={})
    """Days after which a table forgets, such as `{"review": 365, "job": 90}`. Empty, the default: nothing is forgotten.

    It goes by `received_at` for `push`, `committed_at` for `commit`, by the time of the thing itself for `review`,
    `reopening` and `release`, and by the last change for `merge_request`, `issue`, `pipeline`, `job` and `deployment`.
    What is forgotten is missing in the numbers; what GitLab sends again is counted again.
    """

    keep_emails: bool = True
    """Whether e-mail addresses are stored. If false, all new ones become pseudonyms, in raw deliveries too.

    A pseudonym is a hash without a key: people are still matched by e-mail, and who guesses an address can check it.
    """

    def needed_database_url(self) -> str:
        """Where the numbers are kept, for those who cannot do without. Raises SettingsError."""
        if self.database_url is None:
            raise SettingsError("GITPULSE_DATABASE_URL: is not set")
        return self.database_url
