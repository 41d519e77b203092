"""Teams from files: `teams.yaml`, or the same GitPulseTeam manifests that Kubernetes takes, and git's `.mailmap`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gitpulse_cli.errors import CommandError
from gitpulse_operator.adapters.manifests import documents
from gitpulse_operator.domain.spec import parse_team
from gitpulse_operator.errors import SpecInvalid
from gitpulse_operator.names import TEAM
from gitpulse_operator.reconcile.resource import Body, mapping
from gitpulse_operator.reconcile.team import record
from gitpulse_service.contract import Person, Team

_MAILMAP = re.compile(r"([^<>#]*)<([^<>]+)>(?:([^<>]*)<([^<>]+)>)?\s*(?:#.*)?")


def read(path: Path) -> list[Team]:
    """The teams of a file, or of all in a folder. Raises ManifestInvalid or CommandError with file and field."""
    teams: dict[str, Team] = {}
    mailmaps = []
    for file, document in documents([path]):
        for where, name, spec in _entries(file, document):
            if not isinstance(name, str) or not name or name in teams:
                raise CommandError(f"{file}: {where}: `name` must be set, and no other team's")
            try:
                teams[name] = record(name, parse_team(spec))
            except SpecInvalid as error:
                raise CommandError(f"{file}: {where}: {error}") from None
        if "kind" not in document and document.get("mailmap"):
            mailmaps.append(file.parent / str(document["mailmap"]))
    return [*teams.values(), *(Team("", tuple(_mailmap(mailmap, list(teams.values())))) for mailmap in mailmaps)]


def _entries(file: Path, document: Body) -> Iterator[tuple[str, object, Body]]:
    """Where it stands, name and spec of each team of a document."""
    if "kind" in document:
        if document["kind"] == TEAM:
            name = mapping(document.get("metadata")).get("name")
            yield f'team "{name}"', name, mapping(document.get("spec"))
        return
    entries = document.get("teams", [])
    if not isinstance(entries, list) or (unknown := set(document) - {"teams", "mailmap"}):
        wrong = "`teams` must be a list" if not isinstance(entries, list) else f"`{min(unknown)}` is not known"
        raise CommandError(f"{file}: {wrong}; a file of teams has `teams` and `mailmap`")
    for number, entry in enumerate(entries):
        spec = {key: value for key, value in mapping(entry).items() if key != "name"}
        yield f"teams[{number}]", mapping(entry).get("name"), spec


def _mailmap(path: Path, teams: list[Team]) -> Iterator[Person]:
    """What git calls somebody, as more aliases of the members that it means, or of people who are in no team."""
    by_email = {email.casefold(): person.name for team in teams for person in team.members for email in person.emails}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        if not (found := _MAILMAP.fullmatch(line)):
            raise CommandError(
                f"{path}: line {number} must be `Name <e-mail>`, or that and `<e-mail>` or `Name <e-mail>`"
            )
        name, email, old_name, old_email = ((part or "").strip() for part in found.groups())
        person = by_email.get(email.casefold(), name)
        if not person:
            continue  # an address in the place of another one, of somebody whom nobody names
        by_email.setdefault(email.casefold(), person)
        known = Person(person, emails=(email,), names=(name,) if name else ())
        yield msgspec.structs.replace(
            known,
            emails=(email, old_email) if old_email and not old_name else (email,),
            authors=(f"{old_name} <{old_email}>",) if old_name else (),
        )
