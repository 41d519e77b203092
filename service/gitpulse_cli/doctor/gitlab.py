"""A GitLab and the token for it: does it answer, does it know the token, may that do what is needed, for how long?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Seen, fine, passed, wrong
from gitpulse_cli.doctor.patient import Patient
from gitpulse_cli.doctor.probe import Unreached, get
from gitpulse_operator.errors import (
    ConnectionMissing,
    CredentialsInvalid,
    Forbidden,
    GitLabUnavailable,
    InsufficientScope,
    OperatorError,
    SecretMissing,
    SpecInvalid,
    TargetNotFound,
)

SOON = 14
"""Days, as of the alert GitPulseTokenExpiring."""
TOLERANCE = 300.0
"""Seconds by which a receiver lets `webhook-timestamp` be off: `receiver.verification.TOLERANCE`."""
_CAUSES = {
    ConnectionMissing: causes.CONNECTION_WRONG,
    SecretMissing: causes.CONNECTION_WRONG,
    SpecInvalid: causes.CONNECTION_WRONG,
    InsufficientScope: causes.TOKEN_SCOPE,
    Forbidden: causes.ROLE_TOO_LOW,
    TargetNotFound: causes.TARGET_MISSING,
    GitLabUnavailable: causes.GITLAB_UNREACHABLE,
}


def refused(error: OperatorError) -> Seen:
    """What a refusal of GitLab's means. Raises the error again where it means nothing, as that we ask too much."""
    said = str(error)
    if isinstance(error, CredentialsInvalid):
        words = {"expired": causes.TOKEN_EXPIRED, "revoked": causes.TOKEN_REVOKED}
        return wrong(next((it for word, it in words.items() if word in said.lower()), causes.TOKEN_INVALID), said)
    if cause := _CAUSES.get(type(error)):
        return wrong(cause, said)
    raise error


async def look(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """The connection as a whole."""
    if patient.world is None and patient.by_hand is None:
        yield passed("not checked: GITPULSE_GITLAB_URL and GITPULSE_GITLAB_TOKEN are not set here")
        return
    try:
        gitlab = await patient.gitlab(subject.name)
        version = await gitlab.version(fresh=True)
        token = await gitlab.token()
    except OperatorError as error:
        yield refused(error)
        return
    needed = {"api"} if patient.world else {"api", "read_api"}
    ends = ""
    if token:
        if not needed & set(token.scopes):
            yield wrong(causes.TOKEN_SCOPE, f"its scopes are {', '.join(token.scopes) or 'none'}")
            return
        ends = f"; the token ends {token.expires_at}" if token.expires_at else "; the token does not end"
        if token.expires_at and (date.fromisoformat(token.expires_at) - datetime.now(UTC).date()).days <= SOON:
            yield wrong(causes.TOKEN_EXPIRING, f"it ends {token.expires_at}")
            return
    yield fine(f"{gitlab.url} is GitLab {version}{ends}")


async def clock(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """GitLab's clock against the receivers', or this machine's where they were not heard."""
    if patient.world is None and patient.by_hand is None:
        return
    gitlab = await patient.gitlab(subject.name)
    try:
        spec, _ = gitlab.access()
        reply = await get(f"{gitlab.url}/api/v4/version", ca=spec.ca_bundle)
    except Unreached as error:
        yield passed(f"not checked: {error}")
        return
    if reply.ahead is None:
        yield passed("not checked: GitLab does not say what time it is")
        return
    receivers = patient.receiver_ahead or 0.0
    apart = reply.ahead - receivers
    said = f"GitLab's clock is {_off(reply.ahead)}"
    if patient.receiver_ahead is not None:
        said += f", that of the receivers {_off(receivers)}"
    yield wrong(causes.CLOCK_OFF, said) if abs(apart) > TOLERANCE else fine(said)


def _off(seconds: float) -> str:
    if abs(seconds) < 5:  # a Date has whole seconds, and an answer takes some time
        return "right by this machine's"
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"


GITLAB = Check("gitlab", lambda patient: patient.connections, look)
CLOCK = Check("clock", lambda patient: patient.connections, clock, needs=("gitlab",))
