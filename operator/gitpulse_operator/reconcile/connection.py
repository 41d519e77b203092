"""Looks after a GitLabConnection: can this GitLab be reached, and may its token do what GitPulse needs?"""

from __future__ import annotations

from gitpulse_operator.domain.conditions import CREDENTIALS_VALID, READY, Condition, failure, find
from gitpulse_operator.errors import CredentialsError, InsufficientScope, OperatorError
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Outcome, Resource
from gitpulse_service.contract import Access

SHARE = 0.25
"""Of a connection's requests a second: what workers may send beside the operator."""
KNOWN = ("version", "scopes", "tokenExpiresAt")
"""What a status keeps of an earlier look when GitLab cannot be asked."""


async def reconcile_connection(resource: Resource, world: World) -> Outcome:
    """Reads spec and token anew, asks GitLab for its version and the token's scopes, and says what it found."""
    status: dict[str, object] = {field: resource.status[field] for field in KNOWN if field in resource.status}
    error: OperatorError | None = None
    try:
        await _look(resource, world, status)
        conditions = _good(str(status["version"]))
    except OperatorError as caught:
        error = caught
        conditions = _bad(resource, caught)
    status |= resource.answer(conditions, world.clock())
    if resource.rotation_requested:
        status["lastHandledRotateAt"] = resource.rotation_requested
    return Outcome(status, error=error)


async def _look(resource: Resource, world: World, status: dict[str, object]) -> None:
    gitlab = await world.connections.reopen(resource.ref.namespace, resource.ref.name)
    spec, secret = gitlab.access()
    name, share = f"{resource.ref.namespace}/{resource.ref.name}", spec.requests_per_second * SHARE
    await world.directory.grant(Access(name, spec.url, secret, spec.ca_bundle, share))
    status["version"] = await gitlab.version(fresh=True)
    token = await gitlab.token()
    status.pop("scopes", None)
    status.pop("tokenExpiresAt", None)
    if token is None:
        return
    status["scopes"] = sorted(set(token.scopes))
    if token.expires_at:
        status["tokenExpiresAt"] = f"{token.expires_at}T00:00:00Z"
    if "api" not in token.scopes:
        raise InsufficientScope(f'the token has the scopes {", ".join(token.scopes) or "none"}; it needs "api"')


def _good(version: str) -> list[Condition]:
    return [
        Condition(READY, "True", "Connected", f"GitLab {version} answers, and the token may manage hooks."),
        Condition(CREDENTIALS_VALID, "True", "TokenAccepted", "GitLab accepts the token."),
    ]


def _bad(resource: Resource, error: OperatorError) -> list[Condition]:
    conditions = [*failure(reason=error.reason, message=str(error), passing=error.retryable)]
    if isinstance(error, CredentialsError):
        conditions.append(Condition(CREDENTIALS_VALID, "False", error.reason, str(error)))
    elif known := find(resource.conditions, CREDENTIALS_VALID):
        conditions.append(known)
    else:
        conditions.append(Condition(CREDENTIALS_VALID, "Unknown", error.reason, "GitLab could not be asked yet."))
    return conditions
