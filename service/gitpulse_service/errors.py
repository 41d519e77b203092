"""What can go wrong in the service.

Each error has a machine reason, used in metrics and logs, and says whether trying again may help.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """The base of all errors that the service raises on purpose."""

    reason: ClassVar[str] = "Error"
    retryable: ClassVar[bool] = False


class LogUnavailable(ServiceError):
    """The event log cannot be reached, or cannot write now."""

    reason = "LogUnavailable"
    retryable = True


class LogFull(LogUnavailable):
    """A backlog limit is reached, or Redis is out of memory; GitLab must be told to come back."""

    reason = "LogFull"


class WrongLetter(ServiceError):
    """There is no such dead letter, or it cannot be put back."""

    reason = "WrongLetter"


class WrongToken(ServiceError):
    """There is no such token of the query API, or there is one already."""

    reason = "WrongToken"


class DirectoryNotReady(ServiceError):
    """The receiver cannot tell yet whether there is such a hook."""

    reason = "DirectoryNotReady"
    retryable = True


class CannotServe(ServiceError):
    """A server cannot start, for example because its port is taken."""

    reason = "CannotServe"


class StoreUnavailable(ServiceError):
    """The database cannot be reached, or cannot write now."""

    reason = "StoreUnavailable"
    retryable = True


class StoreRefused(ServiceError):
    """The database can be reached but refuses the content of a batch; trying the same again changes nothing."""

    reason = "StoreRefused"


class Undecodable(ServiceError):
    """A delivery whose body is not what GitLab sends for its kind; trying again changes nothing."""

    reason = "Undecodable"


class GitLabFailed(ServiceError):
    """GitLab refuses to tell (a `status` of 300 to 499), or does not answer; then `retry_after` is in seconds."""

    reason = "GitLabFailed"

    def __init__(self, message: str, *, status: int = 0, retry_after: float = 15.0, what: str = "") -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.what = what
        """What is not there, where it says so: `Commit`."""
