"""Specs as the operator reads them: every default filled in, every rule of the CRDs checked once more.

The API server has checked them already; files, and API servers without these rules, have not. The defaults and the
words of the messages are those of `crds/*.yaml`, which a test holds together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gitpulse_operator.domain.events import GROUP_ONLY, TOGGLES, ParentKind
from gitpulse_operator.errors import SpecInvalid

PROJECT_TARGET = re.compile(r"[1-9][0-9]{0,17}|[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)+")
GROUP_TARGET = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)*")
DURATION = re.compile(r"([0-9]{1,6}(h|m|s))+")
NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
KEY = re.compile(r"[-._a-zA-Z0-9]+")
ANY = re.compile(r".+", re.DOTALL)
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
USERNAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
BOT = re.compile(r"\**[^*].*", re.DOTALL)
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")

T = TypeVar("T")

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """One key of a Secret in the same namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """A GitLab and how to talk to it; `url` has no trailing slash."""

    url: str
    token: SecretRef
    ca_bundle: str | None
    requests_per_second: int


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """With what deliveries prove that they are authentic; `rotation_interval` 0 means never."""

    type: str
    ref: SecretRef | None
    rotation_interval: timedelta
    overlap: timedelta


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """A project or group to follow; `target` is its path, or its id as digits."""

    kind: ParentKind
    target: str
    connection: str
    events: frozenset[str]
    ssl_verification: bool
    group_mode: str
    secret: SecretSpec
    deletion_policy: str
    adoption_policy: str
    team: str | None
    suspend: bool


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A person, and under what names they appear."""

    name: str
    emails: tuple[str, ...]
    names: tuple[str, ...]
    usernames: tuple[str, ...]
    gitlab_ids: tuple[int, ...]

    def aliases(self) -> set[str]:
        """All that stands for them, as a sentence names it; case is no difference."""
        several = [("the e-mail address", self.emails), ("the name", (self.name, *self.names))]
        several += [("the user name", self.usernames), ("the GitLab id", tuple(map(str, self.gitlab_ids)))]
        return {f'{kind} "{" ".join(text.split()).casefold()}"' for kind, texts in several for text in texts}


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """People whose work is counted together."""

    members: tuple[MemberSpec, ...]
    bots: tuple[str, ...]
    time_zone: str


def parse_connection(spec: Mapping[str, object]) -> ConnectionSpec:
    """Reads a GitLabConnection's spec. Raises SpecInvalid."""
    reader = _Reader(spec)
    url = reader.text("url")
    _check_url(url)
    ca_bundle = reader.text("caBundle", default="") or None
    if ca_bundle and not ("-----BEGIN CERTIFICATE-----" in ca_bundle and "-----END CERTIFICATE-----" in ca_bundle):
        raise SpecInvalid('`caBundle` must be PEM text with at least one "-----BEGIN CERTIFICATE-----" block')
    return ConnectionSpec(
        url=url.rstrip("/"),
        token=_secret_ref(reader.part("tokenSecretRef")),
        ca_bundle=ca_bundle,
        requests_per_second=reader.number("requestsPerSecond", default=10, least=1, most=1000),
    )


def parse_project(spec: Mapping[str, object]) -> ProjectSpec:
    """Reads a GitPulseProject's spec. Raises SpecInvalid."""
    reader = _Reader(spec)
    kind, target = _target(reader)
    group_mode = reader.one_of("groupMode", "Auto", "GroupHook", "ProjectHooks")
    if kind == "Project" and group_mode != "Auto":
        raise SpecInvalid('`groupMode` must be "Auto" unless `group` is set')
    events = _events(reader)
    if events & GROUP_ONLY and kind == "Project":
        raise SpecInvalid(
            '`events` must not hold "Member", "Subgroup" or "Project" unless `group` is set: only a group sends them'
        )
    if events & GROUP_ONLY and group_mode == "ProjectHooks":
        raise SpecInvalid(
            '`events` must not hold "Member", "Subgroup" or "Project" where `groupMode` is "ProjectHooks": '
            "only a group hook sends them"
        )
    team = reader.part("teamRef", default={})
    return ProjectSpec(
        kind=kind,
        target=target,
        connection=reader.part("connectionRef").text("name", NAME),
        events=events,
        ssl_verification=reader.flag("sslVerification", default=True),
        group_mode=group_mode,
        secret=_secret(reader.part("secret", default={})),
        deletion_policy=reader.one_of("deletionPolicy", "Delete", "Orphan"),
        adoption_policy=reader.one_of("adoptionPolicy", "Adopt", "Observe"),
        team=team.text("name", NAME) if team else None,
        suspend=reader.flag("suspend", default=False),
    )


def parse_team(spec: Mapping[str, object]) -> TeamSpec:
    """Reads a GitPulseTeam's spec. Raises SpecInvalid."""
    reader = _Reader(spec).only("members", "bots", "timeZone")
    members = reader.each("members", _member)
    if not members:
        raise SpecInvalid("`members` must be a list with at least one person")
    zone = reader.text("timeZone", ZONE, "UTC")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise SpecInvalid(f'`timeZone` must be the IANA name of a time zone; there is no "{zone}"') from None
    return TeamSpec(members, reader.texts("bots", BOT), zone)


def _member(entries: _Reader, field: str) -> MemberSpec:
    reader = entries.part(field).only("name", "emails", "names", "usernames", "gitlabIDs")
    return MemberSpec(
        name=reader.text("name"),
        emails=reader.texts("emails", EMAIL),
        names=reader.texts("names"),
        usernames=reader.texts("usernames", USERNAME),
        gitlab_ids=reader.each("gitlabIDs", lambda ids, it: ids.number(it, default=0, least=1, most=2**63 - 1)),
    )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise SpecInvalid('`url` must be a URL that starts with "http://" or "https://" and names a host')
    if "?" in url or "#" in url:
        raise SpecInvalid("`url` must be a base URL, without a query and without a fragment")
    if "@" in url:
        raise SpecInvalid(
            "`url` must not hold a user name or password; the token goes into the Secret of `tokenSecretRef`"
        )
    if url.rstrip("/").endswith("/api/v4"):
        raise SpecInvalid('`url` must be the base URL, without "/api/v4"')


def _target(reader: _Reader) -> tuple[ParentKind, str]:
    if ("project" in reader) == ("group" in reader):
        raise SpecInvalid("must have exactly one of `project` and `group`")
    if "project" in reader:
        return "Project", reader.text("project", PROJECT_TARGET)
    return "Group", reader.text("group", GROUP_TARGET)


def _events(reader: _Reader) -> frozenset[str]:
    events = reader.get("events", ["Push", "MergeRequest", "Note", "Issue", "Pipeline"])
    if not isinstance(events, list) or not events:
        raise SpecInvalid("`events` must be a list with at least one kind of event")
    if unknown := [str(event) for event in events if not isinstance(event, str) or event not in TOGGLES]:
        raise SpecInvalid(f'`events` must not hold "{unknown[0]}": known are {", ".join(TOGGLES)}')
    return frozenset(events)


def _secret(reader: _Reader) -> SecretSpec:
    ref = reader.part("secretRef", default={})
    secret = SecretSpec(
        type=reader.one_of("type", "Auto", "SigningToken", "Token"),
        ref=_secret_ref(ref) if ref else None,
        rotation_interval=reader.duration("rotationInterval", default="2160h"),
        overlap=reader.duration("overlap", default="1h"),
    )
    if timedelta() < secret.rotation_interval < HOUR:
        raise SpecInvalid('`rotationInterval` must be "0s", which means never, or at least "1h"')
    if secret.overlap < MINUTE:
        raise SpecInvalid('`overlap` must be at least "1m", so that deliveries on their way arrive')
    if secret.rotation_interval and secret.overlap >= secret.rotation_interval:
        raise SpecInvalid("`overlap` must be shorter than `rotationInterval`")
    return secret


def _secret_ref(reader: _Reader) -> SecretRef:
    return SecretRef(reader.text("name", NAME), reader.text("key", KEY, default="token"))


class _Reader:
    """Takes typed values out of a mapping, and names the field that is wrong."""

    def __init__(self, values: Mapping[str, object], path: str = "") -> None:
        self._values = values
        self._path = path

    def __contains__(self, field: str) -> bool:
        return self._values.get(field) is not None

    def __bool__(self) -> bool:
        return bool(self._values)

    def only(self, *fields: str) -> _Reader:
        if unknown := sorted(set(self._values) - set(fields)):
            raise SpecInvalid(f"`{self._path}{unknown[0]}` is not known here; known are {', '.join(fields)}")
        return self

    def get(self, field: str, default: object = None) -> object:
        value = self._values.get(field)
        if value is None:
            value = default
        if value is None:
            raise SpecInvalid(f"`{self._path}{field}` must be set")
        return value

    def part(self, field: str, default: Mapping[str, object] | None = None) -> _Reader:
        value = self.get(field, default)
        if not isinstance(value, Mapping):
            raise SpecInvalid(f"`{self._path}{field}` must be an object")
        return _Reader(value, f"{self._path}{field}.")

    def text(self, field: str, pattern: re.Pattern[str] = ANY, default: str | None = None) -> str:
        value = self.get(field, default)
        if not isinstance(value, str):
            raise SpecInvalid(f"`{self._path}{field}` must be text, in quotes where it looks like a number")
        if value != default and not pattern.fullmatch(value):
            raise SpecInvalid(f'`{self._path}{field}` must not be "{value[:100]}": it must match {pattern.pattern}')
        return value

    def each(self, field: str, read: Callable[[_Reader, str], T]) -> tuple[T, ...]:
        values = self.get(field, [])
        if not isinstance(values, list):
            raise SpecInvalid(f"`{self._path}{field}` must be a list")
        entries = {f"{field}[{number}]": value for number, value in enumerate(values)}
        return tuple(read(_Reader(entries, self._path), name) for name in entries)

    def texts(self, field: str, pattern: re.Pattern[str] = ANY) -> tuple[str, ...]:
        return self.each(field, lambda entries, name: entries.text(name, pattern))

    def flag(self, field: str, *, default: bool) -> bool:
        value = self.get(field, default)
        if not isinstance(value, bool):
            raise SpecInvalid(f"`{self._path}{field}` must be true or false")
        return value

    def number(self, field: str, *, default: int, least: int, most: int) -> int:
        value = self.get(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise SpecInvalid(f"`{self._path}{field}` must be a whole number from {least} to {most}")
        return value

    def one_of(self, field: str, default: str, *others: str) -> str:
        value = self.text(field, default=default)
        if value not in (default, *others):
            raise SpecInvalid(f"`{self._path}{field}` must be one of {', '.join((default, *others))}")
        return value

    def duration(self, field: str, *, default: str) -> timedelta:
        text = self.text(field, DURATION, default)
        units = {"h": "hours", "m": "minutes", "s": "seconds"}
        return sum(
            (timedelta(**{units[unit]: int(number)}) for number, unit in re.findall(r"(\d+)([hms])", text)), timedelta()
        )
