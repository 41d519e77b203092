"""What GitLab's refusals mean, and what a person must do about each."""

from __future__ import annotations

import json

import gitlab
import requests

from gitpulse_operator.errors import (
    CredentialsInvalid,
    Forbidden,
    GitLabUnavailable,
    InsufficientScope,
    OperatorError,
    Refused,
    TargetNotFound,
)

LONGEST_QUOTE = 300
"""Characters of GitLab's own words that a message repeats."""


def explain(error: gitlab.exceptions.GitlabError, *, url: str, about: str) -> OperatorError:
    """Our error for an answer of GitLab that is no success. `about` names what was asked for."""
    body = _body(error)
    what = about or "that"
    if isinstance(error, gitlab.exceptions.RedirectError):
        return Refused(f"{url} redirects to another address; set the connection's `url` to where GitLab really is")
    match error.response_code:
        case 401:
            detail = body.get("error_description")
            why = _quote(detail or body.get("message"))
            return CredentialsInvalid(f"{url} does not accept the token ({why}); put a valid one into its Secret")
        case 403 if body.get("error") == "insufficient_scope":
            return InsufficientScope(f'the token may not do this: it needs the scope "api" ({url})')
        case 403:
            return Forbidden(
                f"the token's owner may not manage hooks of {what}: "
                "it must be Maintainer of a project, or Owner of a group with GitLab Premium"
            )
        case 404:
            hint = "; a group's hooks need GitLab Premium and an Owner's token" if 'group "' in what else ""
            return TargetNotFound(f"{url} has no {what}, or the token cannot see it{hint}")
        case 400 | 422:
            said = _quote(body.get("message") or body.get("error"))
            hint = (
                "; it may have to allow the receiver's address for outbound requests" if "url" in said.lower() else ""
            )
            return Refused(f"{url} refuses the hook ({what}): {said}{hint}", said=said)
        case code if code and code >= 500:
            return GitLabUnavailable(f"{url} answers with an error of its own ({code}); trying again later")
        case code:
            return GitLabUnavailable(f"{url} does not answer like a GitLab ({code or 'unreadable answer'})")


def unreachable(error: requests.RequestException, *, url: str, timeout: float) -> OperatorError:
    """Our error for a request that got no answer."""
    match error:
        case requests.exceptions.SSLError():
            why = "its certificate is not trusted; if it is from an authority of your own, set `caBundle`"
        case requests.exceptions.Timeout():
            why = f"no answer within {timeout:g} s"
        case requests.exceptions.ConnectionError():
            why = "no connection; is the address right, and may the operator reach it?"
        case _:
            why = type(error).__name__
    return GitLabUnavailable(f"{url} cannot be reached: {why}")


def _body(error: gitlab.exceptions.GitlabError) -> dict[str, object]:
    try:
        body = json.loads(error.response_body or b"")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _quote(words: object) -> str:
    text = words if isinstance(words, str) else json.dumps(words) if words else "no reason given"
    return " ".join(text.split())[:LONGEST_QUOTE]
