"""Hooks as the statuses of resources have them: one of a project or group, or one in each project of a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gitpulse_cli.errors import WrongInput
from gitpulse_cli.places import View, name
from gitpulse_operator.domain.conditions import DELIVERING, find
from gitpulse_operator.domain.fleet import unpack
from gitpulse_operator.domain.hooks import Parent
from gitpulse_operator.reconcile.resource import Body, Resource, mapping


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook of a resource."""

    resource: Resource
    status: Body
    """The resource's, or what is remembered of one project of its group."""

    @property
    def target(self) -> Body:
        return mapping(self.status.get("target"))

    @property
    def path(self) -> str:
        return str(self.target.get("path") or self.resource.spec.get("project") or self.resource.spec.get("group"))

    @property
    def parent(self) -> Parent:
        """Where it is in GitLab. Raises WrongInput where there is none yet."""
        if not (self.target and self.id):
            raise WrongInput(f"{self.resource.ref} has no hook in GitLab yet; `gitpulse status` says why")
        kind, number = self.target["kind"], self.target["id"]
        return Parent("Group" if kind == "Group" else "Project", int(str(number)), self.path)

    @property
    def id(self) -> int | None:
        """GitLab's number of it."""
        number = self.status.get("hookID")
        return number if isinstance(number, int) else None

    @property
    def conditions(self) -> list[Body]:
        """As a status has them."""
        found = self.status.get("conditions")
        return [mapping(each) for each in found] if isinstance(found, list) else []

    def row(self) -> dict[str, object]:
        """What a list shows of it; its state is the word that the dashboard has too."""
        from gitpulse_operator.reconcile.hook_report import hook_state

        delivering, secret = find(self.conditions, DELIVERING), mapping(self.status.get("secret"))
        return {
            "resource": name(self.resource),
            "target": self.path,
            "hook": self.id,
            "state": hook_state(self.conditions),
            "delivering": delivering.reason if delivering else None,
            "generation": secret.get("generation"),
            "rotated_at": secret.get("rotatedAt"),
        }


async def hooks_of(view: View, resources: Iterable[Resource]) -> list[Hook]:
    """All hooks of these projects and groups."""
    found = []
    for resource in resources:
        if resource.status.get("groupMode") != "ProjectHooks":
            found.append(Hook(resource, resource.status))
            continue
        packed = await view.cluster().memory(resource) or b""
        members = [Hook(resource, status) for status, leaving in unpack(packed).values() if not leaving]
        found += sorted(members, key=lambda hook: hook.path)
    return found


async def the_hook(view: View, resource: Resource, project: str) -> Hook:
    """The only one of a resource, or the one in this project of its group. Raises WrongInput."""
    found = await hooks_of(view, [resource])
    chosen = [hook for hook in found if project in ("", hook.path)]
    if len(chosen) == 1:
        return chosen[0]
    some = ", ".join(hook.path for hook in found[:5]) + (" …" if len(found) > 5 else "")
    raise WrongInput(f"{resource.ref} has {len(found)} hooks; say of which project, --project: {some or 'none yet'}")
