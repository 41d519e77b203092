"""The wire contract between the operator, which knows who may send, and the receiver, which decides in microseconds.

The operator publishes one sealed `Route` a hook into the directory, a Redis hash beside a stream of its changes. The
receiver keeps a copy in memory and notes, per hook and secret generation, what it accepted and refused; the operator
reads these notes as proof. This is the one module of the service that the operator imports; it does no IO.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from prometheus_client import Gauge
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Sealed = TypeVar("Sealed", "Route", "Access", "Team")

WEBHOOK_PATH = "/api/v1/webhooks/gitlab"
"""Where GitLab delivers: the bare path for a hook made by hand, with `/{hook_id}` for a managed one."""

# --- Redis keys ------------------------------------------------------------------------------------------------------

DIRECTORY = "gitpulse:directory"
"""Hash: hook id -> sealed route."""
DIRECTORY_CHANGES = "gitpulse:directory:changes"
"""Stream of `{hook: <hook id>}`, written in one transaction with the hash. Its newest id is the directory's version."""
DIRECTORY_CHANGES_KEPT = 10_000
"""About how many changes the stream keeps; a reader that is further behind loads the whole hash again."""
DIRECTORY_SHARDS = "gitpulse:directory:shards"
"""Hash: an operator's shard -> how many shards there are, once it has published all it knows. See `is_complete`."""
DIRECTORY_ACKS = "gitpulse:directory:acks"
"""Hash: receiver id -> `<version> <unix milliseconds>`, what each live receiver has loaded."""


ACCESSES = "gitpulse:accesses"
"""Hash: a connection's name -> sealed `Access`."""
BACKFILLS = "gitpulse:backfills"
"""Hash: name of a request -> `Backfill`, until a worker is done with it."""
FILLINGS = "gitpulse:fillings"
"""Hash: name of a request -> `Filling`, its progress and later its end, until there is another request of this name."""

HOOKS = "gitpulse:hooks"
"""Hash: `namespace/name` of a GitPulseProject, with `/<project id>` for one of a group's -> `HookReport`."""
TEAMS = "gitpulse:teams"
"""Hash: `namespace/name` of a GitPulseTeam -> sealed `Team`. It is whole when the directory is complete."""


def is_complete(shards: Sequence[bytes]) -> bool:
    """Whether all operators have published what they know, by the values of `DIRECTORY_SHARDS`.

    Until then a hook that is not in the directory may be ours all the same: 503, not 401.
    """
    return bool(shards) and len(shards) >= max(map(int, shards))


def feedback_key(hook_id: str) -> str:
    """The hash with a hook's notes, times in Unix milliseconds.

    `accepted:<generation>`: last authentic delivery; `refused`: last refused one, `refused:reason`: why;
    `changed`: last one about members, subgroups or projects of a group. Of the operator, `off`: the last authentic one
    before GitLab began to drop events.
    """
    return f"gitpulse:feedback:{hook_id}"


# --- routes ----------------------------------------------------------------------------------------------------------


class Credential(msgspec.Struct, frozen=True, array_like=True, repr_omit_defaults=True):
    """One generation of a hook's secrets. Its repr shows no secret."""

    generation: int
    token: str = ""
    """What `X-Gitlab-Token` carries; empty: no token is accepted for this generation."""
    signing_key: bytes = b""
    """HMAC key of `webhook-signature`, 32 bytes; empty: no signature is accepted for this generation."""

    def __repr__(self) -> str:
        return f"Credential(generation={self.generation})"


class Route(msgspec.Struct, frozen=True, array_like=True):
    """What the receiver must know about one hook."""

    hook_id: str
    resource: str
    """`namespace/name` of the GitPulseProject, for logs."""
    instance: str
    """Base URL of the GitLab that sends, as the connection has it."""
    credentials: tuple[Credential, ...]
    """Accepted ones, the current generation first."""
    require_signature: bool = False
    """True: a token alone is refused, however right it is."""
    connection: str = ""
    """Name of the `Access` by which workers ask its GitLab for what deliveries do not tell."""

    @property
    def key(self) -> str:
        return self.hook_id


class Access(msgspec.Struct, frozen=True, array_like=True):
    """How workers may ask a GitLab. Its repr shows no secret."""

    name: str
    """`namespace/name` of the GitLabConnection."""
    instance: str
    """Base URL of the GitLab."""
    token: str
    ca_bundle: str | None = None
    rate: float = 2.5
    """Requests a second, of all workers together."""

    @property
    def key(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Access({self.name} to {self.instance})"


class Backfill(msgspec.Struct, frozen=True):
    """What GitLab sent nobody, to be fetched by workers. It holds no secret."""

    name: str
    """The hook's id, where one is to be filled; one request of a name at a time."""
    hook_id: str
    """For whom it is counted: the hook, or the access to be used."""
    instance: str
    parent: str
    """`project/42` or `group/7`."""
    since: int
    until: int
    """The span, Unix seconds."""
    check: bool = False
    """Whether all of it should be known, so that what is not is an error to be measured."""


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody, and under what they appear: all compared without regard to case."""

    name: str
    """As it is shown; also an alias. The same name in two teams is the same person."""
    emails: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    usernames: tuple[str, ...] = ()
    gitlab_ids: tuple[int, ...] = ()
    authors: tuple[str, ...] = ()
    """`Name <e-mail>`, for what only both together tell."""


class Team(msgspec.Struct, frozen=True, omit_defaults=True):
    """People whose work is counted together. One without a name holds people who are in no team."""

    name: str
    members: tuple[Person, ...] = ()
    time_zone: str = "UTC"
    bots: tuple[str, ...] = ()
    """User names and e-mail addresses of machines, with `*` for any text."""
    namespace: str = ""
    """Of the GitPulseTeam; empty: from a file."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Filling(msgspec.Struct, frozen=True):
    """How far a backfill has come. It holds no secret."""

    since: int
    until: int
    """As in the request that it is about."""
    instance: str = ""
    parent: str = ""
    state: Literal["Running", "Done", "Failed"] = "Running"
    counts: dict[str, int] = {}
    """Kind -> rows that were not known, or not as they are."""
    error: str = ""
    of: int = 0
    """Projects in all; 0: not known yet."""
    finished: int = 0
    """Projects that are done."""
    left: int = 0
    """Things that were listed and are still to be looked at one by one."""
    projects: int = 1
    """Page of the list of projects, which come by growing id."""
    done: int = 0
    """The last project that is done; then of the next one, the kind and its page to be read now."""
    kind: int = 0
    page: int = 1
    tip: str = ""
    """The commit that a list of commits begins at, so that its pages stay what they are."""

    @classmethod
    def begun(cls, request: Backfill) -> Self:
        """What is to be said of a request when it is made."""
        return cls(request.since, request.until, request.instance, request.parent)

    def is_of(self, request: Backfill) -> bool:
        """Whether it is about this request, and not another one of the same name."""
        return (self.since, self.until, self.parent) == (request.since, request.until, request.parent)


class HookReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run of the operator found of a hook, for people; as in the status. It holds no secret."""

    resource: str
    state: str
    """`hook_state` of the operator."""
    reason: str = ""
    message: str = ""
    instance: str = ""
    kind: str = ""
    path: str = ""
    hook_id: str = ""
    number: int = 0
    """GitLab's id of the hook; 0: there is none."""
    secret: dict[str, Any] = {}
    revivals: dict[str, Any] = {}
    repair: dict[str, Any] = {}


def hook_id(installation_key: bytes, owner: str, parent: str) -> str:
    """An unguessable, stable name for a hook in a URL: 32 characters of a-z and 2-7.

    `owner` is the resource's uid, `parent` the GitLab parent as `project/42` or `group/7`.
    """
    digest = hmac.digest(installation_key, f"hook\0{owner}\0{parent}".encode(), "sha256")
    return base64.b32encode(digest[:20]).decode().lower()


def installation_id(installation_key: bytes) -> str:
    """Eight hex digits that tell this installation's hooks from another one's."""
    return hmac.digest(installation_key, b"installation", "sha256").hex()[:8]


class Unsealable(ValueError):
    """A record that this installation key did not seal, or not for this hook, or not as one of this kind."""


def seal(installation_key: bytes, record: Route | Access | Team) -> bytes:
    """Encrypts a record (AES-256-GCM, bound to its kind and key)."""
    nonce, bound = os.urandom(12), _bound(type(record), record.key)
    return nonce + AESGCM(_sealing_key(installation_key)).encrypt(nonce, msgspec.msgpack.encode(record), bound)


def unseal(installation_key: bytes, hook: str, sealed: bytes, kind: type[Sealed] = Route) -> Sealed:  # type: ignore[assignment]
    """Opens a record of this kind. Raises Unsealable."""
    try:
        plain = AESGCM(_sealing_key(installation_key)).decrypt(sealed[:12], sealed[12:], _bound(kind, hook))
        return msgspec.msgpack.decode(plain, type=kind)
    except (InvalidTag, ValueError) as error:  # msgspec's errors are ValueErrors; a nonce that is too short is one too
        raise Unsealable(f"the record of {hook} was not sealed with this GITPULSE_INSTALLATION_KEY") from error


def _sealing_key(installation_key: bytes) -> bytes:
    return hashlib.blake2b(b"directory", key=installation_key, digest_size=32).digest()


def _bound(kind: type, hook: str) -> bytes:
    return hook.encode() if kind is Route else f"{kind.__name__}\0{hook}".encode()


# --- the way to Redis -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where to ask for the Redis that is the master now, and how to log in there. Its repr shows no password."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    """The name that the sentinels have for it."""
    options: dict[str, Any] = field(repr=False)
    """Of connections to Redis, by redis-py's names."""
    sentinel_options: dict[str, Any] = field(repr=False)
    """Of connections to the sentinels."""


def sentinels(url: str) -> Sentinels | None:
    """What `redis+sentinel://` or `rediss+sentinel://` says; None for any other URL. Raises ValueError.

    `[user:password@]host:port,host:port/MASTER[/db]`; in the query `sentinel_username` and `sentinel_password`, where
    the sentinels want one too, and with TLS redis-py's `ssl_…`.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("redis+sentinel", "rediss+sentinel"):
        return None
    address, _, query = rest.partition("?")
    login, _, place = address.rpartition("@")
    hosts, master, database, *more = [*place.split("/"), "", ""][: max(3, place.count("/") + 1)]
    try:
        found = tuple(
            (part.hostname or "", part.port or 26379) for h in hosts.split(",") if (part := urlsplit(f"//{h}"))
        )
        number = int(database or 0)
    except ValueError:
        found, number = (), 0
    if more or not master or not found or not all(host for host, _ in found):
        raise ValueError(f"must be {scheme}://[user:password@]host:port,host:port/MASTER[/db]")
    tls: dict[str, Any] = {"ssl": True} if scheme == "rediss+sentinel" else {}
    asked: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in ("sentinel_username", "sentinel_password"):
            asked[name.removeprefix("sentinel_")] = value
        elif tls and name.startswith("ssl_"):
            tls[name] = value
        else:
            raise ValueError(f"has an option that is not known here: {name}")
    user, _, password = login.partition(":")
    who = {"username": unquote(user) or None, "password": unquote(password) or None, "db": number}
    return Sentinels(found, unquote(master), {**who, **tls}, {**asked, **tls})


# --- settings that both sides must agree on ---------------------------------------------------------------------------


class SettingsError(ValueError):
    """A setting is missing or wrong; the text has one line a setting, naming its environment variable."""


def _parse_key(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        key = base64.b64decode(value.strip(), validate=True)
    except ValueError as error:
        raise ValueError("must be base64") from error
    if len(key) != 32:
        raise ValueError(f"must be 32 bytes in base64, not {len(key)}; make one with: openssl rand -base64 32")
    return key


def _check_redis_url(url: str) -> str:
    if sentinels(url) is None and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss://, redis+sentinel:// or unix://")
    return url


InstallationKey = Annotated[bytes, BeforeValidator(_parse_key)]
RedisUrl = Annotated[str, AfterValidator(_check_redis_url)]


class SharedSettings(BaseSettings):
    """The base of the operator's and the service's settings, read from the environment."""

    model_config = SettingsConfigDict(env_prefix="GITPULSE_", hide_input_in_errors=True, frozen=True, extra="ignore")

    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)  # it may hold a password
    """Redis with the directory and the event log: `redis://`, `rediss://` (TLS) or `unix://`; behind Sentinel
    `redis+sentinel://[user:password@]host:port,host:port/MASTER[/db]`.

    Or `rediss+sentinel://`, for TLS to Redis and sentinels. `?sentinel_password=…` where the sentinels have one too.
    """

    @classmethod
    def load(cls, **given: str) -> Self:
        """Reads the environment, for what is not given. Raises SettingsError."""
        try:
            return cls(**given)
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            lines = [f"{_environment_name(prefix, e['loc'])}: {_plain(e['type'], e['msg'])}" for e in error.errors()]
            raise SettingsError("\n".join(lines)) from None


def _environment_name(prefix: str, location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "settings"
    return name if name.isupper() else f"{prefix}{name}".upper()


def _plain(kind: str, message: str) -> str:
    return "is not set" if kind == "missing" else message.removeprefix("Value error, ")


@cache
def build_info() -> Gauge:
    """The metric that every process has, made once where operator and service run in one; see `tell_build`."""
    text = "Always 1; `component`: operator, receiver or worker, `version`: the one that runs."
    return Gauge("gitpulse_build_info", text, ["component", "version"])


def tell_build(component: str) -> None:
    """Has this process say what it is: by nothing else can Prometheus tell them apart, whatever its jobs are called."""
    build_info().labels(component, importlib.metadata.version("gitpulse")).set(1)
