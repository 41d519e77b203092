"""A hook's attributes as the API reads and shows them, with GitLab's words for what it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gitpulse_sim.api.call import Call, Refused
from gitpulse_sim.deliver import signing_key
from gitpulse_sim.frame import Data
from gitpulse_sim.hook import BRANCH_FILTER_STRATEGIES, Hook, acceptable_url, toggles_of
from gitpulse_sim.instance import SIGNING_TOKENS, Instance
from gitpulse_sim.template import KEY

CUSTOM_HEADERS_LIMIT = 20
VALUE_LIMIT = 2048
TEMPLATE_LIMIT = 4096


class Pair(msgspec.Struct):
    """One entry of `custom_headers` or `url_variables`."""

    key: str
    value: str


SHOWN = (
    "id url name description created_at enable_ssl_verification disabled_until push_events_branch_filter "
    "branch_filter_strategy custom_webhook_template repository_update_events:false"
)
KINDS = dict.fromkeys(
    ("url", "name", "description", "token", "push_events_branch_filter", "custom_webhook_template"), str | None
) | {"enable_ssl_verification": bool}


def write(draft: Hook, params: Mapping[str, object], instance: Instance, *, creating: bool) -> None:
    """Puts the sent attributes, and no others, into a draft. Raises Refused; `check` must follow."""
    for name, kind in KINDS.items():
        if name in params:
            setattr(draft, name, _as(kind, name, params))
    draft.url = draft.url or ""
    for name in toggles_of(draft.parent_kind, instance):
        if name in params:
            draft.events = draft.events | {name} if _as(bool, name, params) else draft.events - {name}
    if "branch_filter_strategy" in params:
        if params["branch_filter_strategy"] not in BRANCH_FILTER_STRATEGIES:
            raise Refused(400, {"error": "branch_filter_strategy does not have a valid value"})
        draft.branch_filter_strategy = str(params["branch_filter_strategy"])
    if "signing_token" in params and instance.at_least(*SIGNING_TOKENS):  # before, it is ignored without a word
        draft.signing_token = _as(str | None, "signing_token", params) or None
    wording = "must be a valid json schema" if creating else "validation failed"
    headers = _pairs(params.get("custom_headers"), f"Custom headers {wording}")
    draft.custom_headers = draft.custom_headers | headers
    draft.url_variables = draft.url_variables | _pairs(params.get("url_variables"), "Illegal key or value")
    if len(draft.custom_headers) > CUSTOM_HEADERS_LIMIT:
        raise Refused(422, {"error": f"Custom headers {wording}"})


def check(draft: Hook, instance: Instance) -> None:
    """Refuses what GitLab refuses of the whole hook."""
    if not acceptable_url(draft, instance):
        raise Refused(422, {"error": "Invalid url given"})
    if not _branch_filter_is_valid(draft):
        raise Refused(422, {"error": "Invalid branch filter given"})
    if draft.token and re.search(r"[\r\n]", draft.token):
        raise Refused(422, {"message": {"token": ["is invalid"]}})
    if draft.signing_token and signing_key(draft.signing_token) is None:
        raise Refused(instance.malformed_signing_token_status, {"message": {"signing_token": ["is invalid"]}})
    if len(draft.custom_webhook_template or "") > TEMPLATE_LIMIT:
        too_long = f"is too long (maximum is {TEMPLATE_LIMIT} characters)"
        raise Refused(422, {"message": {"custom_webhook_template": [too_long]}})


def pair(key: str, value: object) -> tuple[str, str]:
    """A custom header or URL variable that may be stored. Raises Refused."""
    if not KEY.fullmatch(key) or not isinstance(value, str) or not 1 <= len(value) <= VALUE_LIMIT:
        raise Refused(422, {"error": "Illegal key or value"})
    return key, value


def shown(call: Call, hook: Hook, *, in_list: bool = False) -> Data:
    """A hook as the API replies it. No secret is in it, only whether there is one (19.0)."""
    instance = call.world.instance
    data = call.frame.fields(hook, f"{SHOWN} {hook.parent_kind}_id=parent_id")
    data["alert_status"] = hook.alert_status(instance, call.world.clock.now())
    data |= {name: name in hook.events for name in toggles_of(hook.parent_kind, instance)}
    if not (in_list and hook.parent_kind == "project"):
        data |= {name: [{"key": key} for key in getattr(hook, name)] for name in ("url_variables", "custom_headers")}
    if instance.at_least(*SIGNING_TOKENS):
        data |= {"token_present": bool(hook.token), "signing_token_present": bool(hook.signing_token)}
    return data


def _as(kind: Any, name: str, params: Mapping[str, object]) -> Any:  # noqa: ANN401 - whatever kind says
    """One parameter, which a form has sent as text perhaps. Raises Refused."""
    try:
        return msgspec.convert(params[name], kind, strict=kind is not bool)
    except msgspec.ValidationError as error:
        raise Refused(400, {"error": f"{name} is invalid"}) from error


def _pairs(value: object, complaint: str) -> dict[str, str]:
    try:
        return dict(pair(entry.key, entry.value) for entry in msgspec.convert(value or [], list[Pair]))
    except (Refused, msgspec.ValidationError) as error:
        raise Refused(422, {"error": complaint}) from error


def _branch_filter_is_valid(draft: Hook) -> bool:
    wanted = draft.push_events_branch_filter
    if not wanted or draft.branch_filter_strategy == "all_branches":
        return True
    if draft.branch_filter_strategy == "regex":
        try:
            re.compile(wanted)
        except re.error:
            return False
        return True
    return not re.search(r"[\s~^:?\[\\]|\.\.|//|@\{|^/|/$", wanted)
