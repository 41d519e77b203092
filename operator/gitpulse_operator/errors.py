"""What can go wrong in the operator.

Each error has a machine reason, which a condition and a metric show, and says whether waiting may help. Its text is
for people: what is wrong, and what to do. It never holds a secret.
"""

from __future__ import annotations

from typing import ClassVar


class OperatorError(Exception):
    """The base of all errors that the operator raises on purpose."""

    reason: ClassVar[str] = ""
    """For machines. Where a class says none it is that of the one that it refines, or else the class's own name."""
    retryable: ClassVar[bool] = False
    """True: it may pass by itself. False: a person must act, so the resource is `Stalled`."""
    retry_after: float | None = None
    """Seconds after which to try again, where the other side has said so."""

    def __init_subclass__(cls) -> None:
        if "reason" not in cls.__dict__ and not cls.reason:
            cls.reason = cls.__name__


class SpecInvalid(OperatorError):
    """A spec that the API server's rules should have refused: it is not there, or older than its rules."""


class NameTaken(OperatorError):
    """A GitPulseTeam of this name is there already, in another namespace."""


class AliasTaken(OperatorError):
    """Two persons are said to be the same."""


# --- the connection and its token -------------------------------------------------------------------------------------


class CredentialsError(OperatorError):
    """The base of what is wrong with the way to a GitLab, rather than with one project there."""

    reason = ""


class ConnectionMissing(CredentialsError):
    """There is no GitLabConnection of that name."""

    retryable = True


class SecretMissing(CredentialsError):
    """There is no Secret of that name, or it lacks the key."""

    retryable = True


class SecretTaken(OperatorError):
    """Where a hook's secret is to be kept there is something else."""


class HookSecretMissing(OperatorError):
    """The Secret that `secret.secretRef` names is not there, or lacks the key."""

    retryable = True


class HookSecretInvalid(OperatorError):
    """What `secret.secretRef` names cannot be a hook's secret, or not one of the wanted type."""


class CredentialsInvalid(CredentialsError):
    """GitLab does not know the token: it is wrong, revoked or expired."""


class InsufficientScope(CredentialsError):
    """The token lacks the scope `api`."""


# --- what GitLab answers ----------------------------------------------------------------------------------------------


class Forbidden(OperatorError):
    """The token's owner may not look after hooks there."""


class TargetNotFound(OperatorError):
    """The project, group or hook is not there, or the token cannot see it; GitLab does not say which."""


class Refused(OperatorError):
    """GitLab understood the request and does not want it: a blocked URL, a full list of hooks, a bad value."""

    reason = "RefusedByGitLab"

    def __init__(self, message: str, *, said: str = "") -> None:
        super().__init__(message)
        self.said = said
        """GitLab's own words."""


class SignatureUnavailable(OperatorError):
    """Signed deliveries are wanted and this GitLab does not make them."""


class RateLimited(OperatorError):
    """GitLab has had enough for now."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotYourTurn(RateLimited):
    """GitLab allows what was asked for only a few times a minute of each project or group; the rest goes on."""


class GitLabUnavailable(OperatorError):
    """GitLab cannot be reached, does not answer in time, or answers with an error of its own."""

    retryable = True


# --- our own house ----------------------------------------------------------------------------------------------------


class DirectoryUnavailable(OperatorError):
    """Redis, where receivers read the routes, cannot be reached or cannot write."""

    retryable = True


class NoKubernetes(OperatorError):
    """Nobody has told us where the Kubernetes API is."""


class PortTaken(OperatorError):
    """Another program listens there."""


class Defect(OperatorError):
    """A mistake in GitPulse itself, in the run over one resource."""

    reason = "InternalError"
    retryable = True


class ClusterUnavailable(OperatorError):
    """The Kubernetes API does not answer, or does not let us."""

    retryable = True


class NotAllowed(ClusterUnavailable):
    """Our account lacks a right; Kubernetes' own words say which."""


class StatusRefused(OperatorError):
    """A status does not fit the kind as it is installed, which is then older than this operator."""

    retryable = True
