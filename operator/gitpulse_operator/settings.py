"""The operator's settings, read from the environment once, at start.

Every field's docstring says unit, default and reason; `docs/settings.md` is made from them.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gitpulse_service.contract import InstallationKey, SharedSettings


def _check_public_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must start with http:// or https:// and name a host")
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    if parts.username is not None:
        raise ValueError("must hold no user name or password")
    return url.rstrip("/")


PublicUrl = Annotated[str, AfterValidator(_check_public_url)]


class OperatorSettings(SharedSettings):
    """What the operator can be told."""

    installation_key: InstallationKey = Field(repr=False)
    """Seals the directory and names the hooks: 32 bytes in base64, the same for receivers.

    A new key means new hook URLs: every hook is found by its name and given the new one.
    """

    public_url: PublicUrl
    """Where GitLab reaches the receiver, `https://host[/path]`. The hook's path is added to it."""

    watch_namespaces: str = ""
    """Namespaces to look after, separated by commas. Empty, the default, means all.

    `kopf run` takes its own options `-A` and `-n` instead.
    """

    shard_selector: str = ""
    """Label selector, `gitpulse.io/shard=a`, of the GitPulseProjects to look after. Empty, the default, means all.

    Each project must match the selector of just one operator; `gitpulse.io/shard!=a` matches those without the label.
    """

    shards: int = Field(default=1, ge=1)
    """How many operators share the projects: receivers refuse no unknown hook before all have published theirs."""

    resync_interval: float = Field(default=600.0, ge=1)
    """Seconds, give or take a tenth, after which a hook is compared with GitLab even if nothing has changed here."""

    deletion_deadline: float = Field(default=600.0, ge=0)
    """Seconds for which a deleted resource waits for a GitLab that does not answer, before it goes without."""

    proof_patience: float = Field(default=20.0, ge=0)
    """Seconds that a rotated secret waits for a real delivery to prove it, before a test delivery is asked for."""

    rotation_deadline: float = Field(default=900.0, gt=0)
    """Seconds that a rotation may stay in one phase (after the overlap, in the last) before it is called stuck."""

    backfill_days: int = Field(default=90, ge=0)
    """Days before a hook's first installation that workers fetch from GitLab, so that there are numbers at once.

    0: none. The requests come out of a quarter of the connection's `requestsPerSecond`.
    """

    gitlab_timeout: float = Field(default=20.0, gt=0)
    """Seconds that one request to GitLab may take."""

    gitlab_threads: int = Field(default=8, ge=1, le=64)
    """Requests to GitLab at one time, over all connections. Each keeps a thread busy."""

    workers: int = Field(default=32, ge=1, le=256)
    """Resources that are looked after at one time."""

    lease: Annotated[str, Field(pattern="^([^/]+/[^/]+)?$")] = ""
    """Lease, `namespace/name`, by which one of several operators works and the others stand by. Empty: none."""

    metrics_port: int = Field(default=9103, ge=0, le=65535)
    """Port on which Prometheus reads the operator's metrics; 0 turns them off."""

    liveness_port: int = Field(default=0, ge=0, le=65535)
    """Port of `/healthz`, which answers as long as the operator's loop turns, also while it stands by.

    0, the default, turns it off.
    """

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces to look after; none means all."""
        return tuple(name for part in self.watch_namespaces.split(",") if (name := part.strip()))
