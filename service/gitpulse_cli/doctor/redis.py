"""Redis: can it be reached, written to, and relied on?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Seen, fine, passed, wrong
from gitpulse_cli.doctor.patient import Patient

ALMOST = 0.98
"""Share of `maxmemory` from which on hardly anything fits."""
_LOGIN = (AuthenticationError, AuthorizationError)


async def look(patient: Patient, _: Subject) -> AsyncIterator[Seen]:
    """Reads, and writes nothing: whether it could is in what Redis says of itself."""
    redis: Any = patient.redis
    try:
        await redis.ping()
        about = await redis.info()
    except NoPermissionError:
        yield passed("it answers, and shows nothing of itself to this user")
        return
    except _LOGIN as error:
        yield wrong(causes.REDIS_LOGIN, str(error))
        return
    except ResponseError as error:
        yield wrong(causes.REDIS_LOGIN if "AUTH" in str(error).upper() else causes.REDIS_READ_ONLY, str(error))
        return
    except (RedisError, OSError, TimeoutError) as error:
        yield wrong(causes.REDIS_UNREACHABLE, str(error) or type(error).__name__)
        return
    found = list(_faults(about))
    for fault in found:
        yield fault
    if not found:
        yield fine(f"{about.get('redis_version')} answers, keeps what it has, and has room")


def _faults(about: dict[str, Any]) -> list[Seen]:
    found = []
    if about.get("role") == "slave":
        found.append(wrong(causes.REDIS_READ_ONLY, "it is a replica"))
    elif about.get("rdb_last_bgsave_status") == "err" or about.get("aof_last_write_status") == "err":
        found.append(wrong(causes.REDIS_READ_ONLY, "its last write to the disk failed"))
    used, most, policy = about.get("used_memory", 0), about.get("maxmemory", 0), about.get("maxmemory_policy")
    if policy not in (None, "noeviction"):
        found.append(wrong(causes.REDIS_EVICTS, f"maxmemory-policy is {policy}"))
    if most and used >= ALMOST * most and policy == "noeviction":
        found.append(wrong(causes.REDIS_FULL, f"{used / 2**20:.1f} of {most / 2**20:.1f} MiB are in use"))
    if about.get("aof_enabled") == 0:
        found.append(wrong(causes.REDIS_FORGETS, "appendonly is no"))
    return found


REDIS = Check("redis", lambda _: [Subject()], look)
