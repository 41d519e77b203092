"""A hook as we want it and as GitLab shows it, and what differs between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gitpulse_operator.domain.events import ParentKind, toggles
from gitpulse_operator.domain.spec import ProjectSpec

Attribute = str | bool | None

ABOUT = "Looked after by GitPulse: changes made here are put right. Edit the GitPulseProject instead."


@dataclass(frozen=True, slots=True)
class Parent:
    """The project or group that a hook belongs to. Its id stays when it is renamed or moved."""

    kind: ParentKind
    id: int
    path: str

    @property
    def key(self) -> str:
        """`project/42` or `group/7`: by this hook ids and secrets are derived."""
        return f"{self.kind.lower()}/{self.id}"


@dataclass(frozen=True, slots=True)
class DesiredHook:
    """A hook as it should be; `attributes` are all that can be read back."""

    path: str
    """The end of its URL, which no other hook's URL has."""
    attributes: Mapping[str, str | bool]

    @property
    def url(self) -> str:
        return str(self.attributes["url"])

    @property
    def name(self) -> str:
        return str(self.attributes["name"])


@dataclass(frozen=True, slots=True)
class ObservedHook:
    """A hook as GitLab shows it. Which attributes it has depends on GitLab's version."""

    id: int
    attributes: Mapping[str, Attribute]

    @property
    def state(self) -> str:
        """`executable`; or `temporarily_disabled` or `disabled`, after deliveries that failed."""
        return str(self.attributes.get("alert_status") or "executable")

    def present(self, credential: Literal["token", "signing_token"]) -> bool | None:
        """Whether GitLab holds this credential for the hook; None: it does not say (before 19.0)."""
        value = self.attributes.get(f"{credential}_present")
        return value if isinstance(value, bool) else None


def desired_hook(spec: ProjectSpec, *, base: str, path: str, name: str) -> DesiredHook:
    """The hook that a GitPulseProject asks for; its URL is `base` + `path`."""
    return DesiredHook(
        path,
        {
            "url": f"{base}{path}",
            "name": name,
            "description": ABOUT,
            "enable_ssl_verification": spec.ssl_verification,
            "push_events_branch_filter": "",
            "custom_webhook_template": "",
            **toggles(spec.events, spec.kind),
        },
    )


def is_ours(desired: DesiredHook, observed: ObservedHook) -> bool:
    """Whether an observed hook is this desired one, by the end of its URL or its exact name, however it was changed."""
    url = str(observed.attributes.get("url") or "")
    return url.endswith(desired.path) or observed.attributes.get("name") == desired.name


def drift(desired: DesiredHook, observed: ObservedHook) -> dict[str, str | bool]:
    """Attributes that GitLab shows and that are not as desired, with their desired values."""
    return {
        name: wanted
        for name, wanted in desired.attributes.items()
        if name in observed.attributes and (observed.attributes[name] or type(wanted)()) != wanted
    }
