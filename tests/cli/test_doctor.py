"""`gitpulse doctor`: of each fault that is really there it names the cause, that cause alone, and of a healthy
installation none."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_client

from gitpulse_sim.people import Role
from harness.patient import PASSWORD, Patient, causes, proxy, tls_front
from harness.pki import Authority
from harness.processes import free_port
from harness.redis import redis_server

Seed = Callable[[Patient, Path], object]
FAULTS: dict[str, tuple[str, Seed]] = {}
"""Name of the seed -> the cause that is to be named, and what seeds it."""


def fault(cause: str) -> Callable[[Seed], Seed]:
    def kept(seed: Seed) -> Seed:
        FAULTS[seed.__name__] = cause, seed
        return seed

    return kept


# --- the way to the receivers -----------------------------------------------------------------------------------------


@fault("NameNotResolved")
def a_name_without_dns_record(patient, _):
    patient.house.public_url = "http://gitpulse.invalid"
    patient.well()


@fault("NothingListens")
def a_receiver_that_has_ended(patient, _):
    patient.well().close()


def _behind_tls(patient: Patient, folder: Path, *, trusted: bool, **certificate: object) -> None:
    """The certificate is what is wrong; the authority is trusted here, or that is."""
    authority = Authority(folder)
    pair = authority.server("front", **certificate)
    if trusted:
        patient.environment["SSL_CERT_FILE"] = str(authority.certificate)
    port = patient.stack.enter_context(tls_front(patient.simulator.loop, pair, patient.port))
    patient.house.public_url = f"https://localhost:{port}"
    patient.well()


@fault("CertificateUntrusted")
def a_certificate_of_an_unknown_authority(patient, folder):
    _behind_tls(patient, folder, trusted=False)


@fault("CertificateExpired")
def a_certificate_that_has_expired(patient, folder):
    _behind_tls(patient, folder, trusted=True, age=timedelta(days=3))


@fault("CertificateForOtherName")
def a_certificate_for_another_name(patient, folder):
    _behind_tls(patient, folder, trusted=True, host="other.example.com")


@fault("CertificateUntrustedByGitLab")
def a_certificate_that_only_this_machine_trusts(patient, folder):
    _behind_tls(patient, folder, trusted=True)


@fault("NoTls")
def https_where_there_is_no_tls(patient, _):
    patient.house.public_url = f"https://127.0.0.1:{patient.port}"
    patient.well()


@fault("PathNotReceivers")
def a_proxy_that_leaves_a_prefix_in_the_path(patient, _):
    patient.house.public_url += "/gitpulse"
    patient.well()


def _behind_proxy(patient: Patient, status: int) -> None:
    port = patient.stack.enter_context(proxy(lambda *_: status))
    patient.house.public_url = f"http://127.0.0.1:{port}"
    patient.well()


@fault("PathNotReceivers")
def a_proxy_without_a_rule_for_the_path(patient, _):
    _behind_proxy(patient, 404)


@fault("ProxyWithoutReceiver")
def a_proxy_that_does_not_reach_the_receiver(patient, _):
    _behind_proxy(patient, 502)


@fault("ProxyRefuses")
def a_proxy_that_wants_a_login(patient, _):
    _behind_proxy(patient, 401)


@fault("UnreachableFromGitLab")
def a_proxy_that_keeps_deliveries_waiting(patient, _):
    patient.simulator.world.instance.webhook_timeout = 0.1
    waiting = threading.Event()
    patient.stack.callback(waiting.set)
    port = patient.stack.enter_context(proxy(lambda method, *_: 405 if method == "GET" else 200 + waiting.wait(30)))
    patient.house.public_url = f"http://127.0.0.1:{port}"
    patient.well()


@fault("AnsweredBadly")
def a_proxy_that_fails_at_deliveries(patient, _):
    port = patient.stack.enter_context(proxy(lambda method, *_: 405 if method == "GET" else 500))
    patient.house.public_url = f"http://127.0.0.1:{port}"
    patient.well()


@fault("AddressNotAllowed")
def an_allow_list_without_gitlab(patient, _):
    patient.operate()
    patient.receive(allowed_addresses="192.0.2.0/24")


@fault("OutboundRequestsBlocked")
def a_gitlab_that_begins_to_filter_outbound_requests(patient, _):
    patient.well()
    patient.simulator.world.instance.outbound_filter = True


@fault("OutboundRequestsBlocked")
def a_gitlab_that_filters_from_the_beginning(patient, _):
    patient.simulator.world.instance.outbound_filter = True
    patient.operate()
    patient.receive()
    assert patient.house.hooks() == []


@fault("GitLabSilentMode")
def a_gitlab_in_silent_mode(patient, _):
    patient.well()
    patient.simulator.world.instance.silent_mode = True


# --- what receivers make of it ----------------------------------------------------------------------------------------


@fault("SecretRefused")
def a_secret_that_somebody_changed_in_gitlab(patient, _):
    patient.well()
    patient.hook.signing_token = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    patient.simulator.push()


@fault("HeadersDropped")
def a_hook_whose_signature_does_not_arrive(patient, _):
    """As behind something that drops headers: GitLab signs, and what proves it is not there."""
    patient.house.change(secret={"type": "SigningToken"})
    patient.well()
    patient.simulator.world.instance.version = "18.11.0"  # sends none of the new headers
    patient.simulator.push()


@fault("HookUnknownToReceivers")
def a_directory_that_has_lost_the_hook(patient, _):
    patient.well()
    redis = patient.house.redis
    name = patient.hook.url.rpartition("/")[2]
    redis.hdel("gitpulse:directory", name)
    redis.xadd("gitpulse:directory:changes", {"hook": name})
    patient.simulator.push()


@fault("ReceiverNotReady")
def a_receiver_with_another_installation_key(patient, _):
    patient.operate()
    patient.receive(installation_key=bytes(32))


@fault("ReceiverNotReady")
def a_receiver_with_another_redis(patient, _):
    patient.operate()
    patient.receive(redis_url=f"redis://127.0.0.1:{free_port()}/0", installation_key=None)


@fault("TooManyRequests")
def a_hook_limit_that_is_reached(patient, _):
    patient.operate()
    patient.receive(hook_limit="1/hour")
    patient.simulator.push()


@fault("InstallationKeyDiffers")
def an_operator_with_another_installation_key(patient, _):
    patient.well()
    patient.environment["GITPULSE_INSTALLATION_KEY"] = base64.b64encode(bytes(32)).decode()


@fault("OperatorNotRunning")
def an_operator_that_never_ran(patient, _):
    patient.house.write()
    patient.environment["GITPULSE_PUBLIC_URL"] = patient.house.public_url
    patient.receive()


@fault("OperatorNotRunning")
def a_redis_that_has_lost_the_directory(patient, _):
    patient.well()
    patient.house.redis.delete("gitpulse:directory", "gitpulse:directory:shards")


# --- Redis, database, worker ------------------------------------------------------------------------------------------


@fault("RedisUnreachable")
def a_redis_that_is_down(patient, _):
    patient.well()
    patient.environment["GITPULSE_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"


def _own_redis(patient: Patient, folder: Path, *options: object) -> redis_client.Redis:
    """With all that was in the shared one but its options; it has no worker."""
    (folder / "own").mkdir()
    server = patient.stack.enter_context(redis_server(folder / "own", *options, appendonly=True))
    patient.house.redis_url = patient.environment["GITPULSE_REDIS_URL"] = server.url
    return patient.stack.enter_context(redis_client.Redis.from_url(server.url))


def _alive(redis: redis_client.Redis) -> None:
    """As a worker says it."""
    redis.set("gitpulse:worker:here", "j_complete=0", ex=60)


@fault("RedisLoginRefused")
def a_redis_that_wants_a_password(patient, folder):
    patient.well()
    _own_redis(patient, folder, "--requirepass", PASSWORD)


@fault("RedisFull")
def a_redis_without_memory(patient, folder):
    redis = _own_redis(patient, folder)
    patient.operate()
    patient.receive()
    _alive(redis)
    redis.config_set("maxmemory", redis.info()["used_memory"] // 2)


@fault("RedisEvicts")
def a_redis_that_evicts(patient, folder):
    redis = _own_redis(patient, folder, "--maxmemory-policy", "allkeys-lru")
    patient.operate()
    patient.receive()
    _alive(redis)


@fault("RedisReadOnly")
def a_redis_that_is_a_replica(patient, folder):
    redis = _own_redis(patient, folder)
    patient.operate()
    patient.receive()
    redis.replicaof("127.0.0.1", patient.ground.redis_url.rpartition(":")[2].partition("/")[0])


@fault("RedisForgets")
def a_redis_without_a_file(patient, folder):
    redis = _own_redis(patient, folder)
    patient.operate()
    patient.receive()
    _alive(redis)
    redis.config_set("appendonly", "no")


@fault("DatabaseUnreachable")
def a_database_that_is_down(patient, _):
    patient.well()
    patient.environment["GITPULSE_DATABASE_URL"] = f"postgresql://gitpulse:{PASSWORD}@127.0.0.1:{free_port()}/gitpulse"


@fault("DatabaseUnreachable")
def a_database_that_is_down_and_a_worker_that_has_given_up(patient, folder):
    _own_redis(patient, folder)
    patient.well()
    patient.environment["GITPULSE_DATABASE_URL"] = f"postgresql://gitpulse:{PASSWORD}@127.0.0.1:{free_port()}/gitpulse"


@fault("DatabaseNotMigrated")
def a_database_without_tables(patient, folder):
    patient.well()
    sqlite3.connect(folder / "empty.db").execute("VACUUM").connection.close()
    patient.environment["GITPULSE_DATABASE_URL"] = f"sqlite:///{folder / 'empty.db'}"


@fault("DatabaseNewer")
def a_database_of_a_newer_version(patient, folder):
    patient.well()
    with contextlib.closing(sqlite3.connect(folder / "newer.db")) as there, there:
        there.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        there.execute("INSERT INTO alembic_version VALUES ('9999')")
    patient.environment["GITPULSE_DATABASE_URL"] = f"sqlite:///{folder / 'newer.db'}"


@fault("WorkerDown")
def a_worker_that_does_not_run(patient, folder):
    _own_redis(patient, folder)
    patient.operate()
    patient.receive()
    patient.simulator.push()


def _waits(patient: Patient, redis: redis_client.Redis, entry: str, size: int) -> None:
    """A delivery that a worker, which says that it lives, does not come to."""
    redis.xadd("gitpulse:log:0", {"entry": b""}, id=entry)
    redis.hset("gitpulse:waiting", "0", size)
    _alive(redis)


@fault("BacklogOld")
def a_delivery_that_waits_for_an_hour(patient, folder):
    redis = _own_redis(patient, folder)
    patient.operate()
    patient.receive()
    _waits(patient, redis, f"{int(time.time() - 3600) * 1000}-0", 100)


@fault("BacklogFull")
def a_backlog_at_its_limit(patient, folder):
    redis = _own_redis(patient, folder)
    patient.operate()
    patient.receive()
    _waits(patient, redis, "*", 2**31)


@fault("DeadLetters")
def a_delivery_that_nobody_can_count(patient, _):
    patient.well()
    patient.house.redis.xadd("gitpulse:dead", {"job": "", "reason": "not_json", "at": "1", "entry": b"?"})


# --- GitLab and its token ---------------------------------------------------------------------------------------------


@fault("TokenExpired")
def a_token_that_has_expired(patient, _):
    patient.well()
    patient.simulator.world.tokens[patient.simulator.token].expires_at = datetime.now(UTC).date()


@fault("TokenExpiring")
def a_token_that_ends_next_week(patient, _):
    patient.well()
    patient.simulator.world.tokens[patient.simulator.token].expires_at = datetime.now(UTC).date() + timedelta(days=7)


@fault("TokenRevoked")
def a_token_that_was_revoked(patient, _):
    patient.well()
    patient.simulator.world.tokens[patient.simulator.token].revoked = True


@fault("TokenInvalid")
def a_token_of_another_gitlab(patient, _):
    patient.well()
    patient.house.token = "of-another-gitlab"
    patient.house.write()


@fault("TokenScopeMissing")
def a_token_that_may_only_read(patient, _):
    patient.well()
    patient.simulator.world.tokens[patient.simulator.token].scopes = ("read_api",)


@fault("RoleTooLow")
def a_token_of_a_developer(patient, _):
    patient.well()
    world = patient.simulator.world
    world.groups[1].members[world.tokens[patient.simulator.token].user.id] = Role.DEVELOPER


@fault("TargetMissing")
def a_project_that_is_not_there(patient, _):
    patient.well()
    patient.house.change(project="acme/gone")
    patient.operate()


@fault("ConnectionWrong")
def a_connection_whose_secret_is_missing(patient, _):
    patient.well()
    patient.house.connection["tokenSecretRef"] = {"name": "nowhere"}
    patient.operate()


@fault("GitLabUnreachable")
def a_gitlab_that_is_not_there(patient, _):
    patient.well()
    patient.house.connection["url"] = f"http://127.0.0.1:{free_port()}"
    patient.operate()


@fault("ClockOff")
def a_clock_that_is_off(patient, _):
    patient.well()
    patient.simulator.world.instance.signature_clock_skew = -900
    patient.simulator.push()


# --- the hook in GitLab -----------------------------------------------------------------------------------------------


@fault("HookPaused")
def a_hook_that_is_switched_off_for_a_while(patient, _):
    receiver = patient.well()
    patient.simulator.world.instance.auto_disabling = True
    receiver.close()
    for _ in range(4):
        patient.simulator.push()
    assert patient.hook.disabled_until
    patient.receive()


@fault("HookDisabled")
def a_hook_that_is_switched_off_for_good(patient, _):
    receiver = patient.well()
    patient.simulator.world.instance.auto_disabling = True
    receiver.close()
    for _ in range(4):
        patient.simulator.push()
    patient.hook.recent_failures = 40  # after weeks of that
    patient.receive()


@fault("HookMissing")
def a_hook_that_somebody_has_deleted(patient, _):
    patient.well()
    patient.simulator.website.hooks.clear()


@fault("HookPointsElsewhere")
def a_hook_that_somebody_has_pointed_elsewhere(patient, _):
    patient.well()
    patient.hook.url = "https://elsewhere.example.com/hook"


@fault("HookEventsOff")
def a_hook_without_an_event_that_is_wanted(patient, _):
    patient.well()
    patient.hook.events.discard("merge_requests_events")


@fault("HookTemplate")
def a_hook_with_a_template(patient, _):
    patient.well()
    patient.hook.custom_webhook_template = '{"event": "{{object_kind}}"}'


@fault("HookFiltered")
def a_hook_with_a_branch_filter(patient, _):
    patient.well()
    patient.hook.push_events_branch_filter = "main"


@fault("HooksOverlap")
def a_hook_of_the_group_beside_that_of_the_project(patient, _):
    patient.house.projects["acme"] = patient.house.project(group="acme")
    patient.well()


@fault("HooksOverlap")
def a_hook_by_hand_beside_ours(patient, _):
    patient.well()
    patient.make_hook()


@fault("HookRefused")
def a_project_that_is_full_of_hooks(patient, _):
    patient.simulator.world.instance.project_hooks_limit = 0
    patient.operate()
    patient.receive()


@fault("ResourceNotReady")
def a_resource_whose_own_secret_is_missing(patient, _):
    patient.well()
    patient.house.change(secret={"secretRef": {"name": "nowhere"}})
    patient.operate()


@fault("SpecInvalid")
def a_spec_that_no_cluster_would_take(patient, _):
    patient.house.change(events=["Pushes"])
    patient.well()


@fault("SpecInvalid")
def a_spec_that_names_no_connection(patient, _):
    patient.house.change(connectionRef={})
    patient.well()


@fault("NoResources")
def a_name_that_nobody_has(patient, _):
    patient.well()
    patient.arguments.append("webside")


@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_of_a_fault_is_named_and_no_other(patient, tmp_path, name):
    cause, seed = FAULTS[name]
    (tmp_path / "seed").mkdir()
    seed(patient, tmp_path / "seed")
    code, rows = patient.examine()
    assert (code, causes(rows)) == (1, [cause]), json.dumps(rows, indent=1)
    (row, *_) = [row for row in rows if row["cause"]]
    assert row["cure"]
    assert all(row["status"] != "unknown" for row in rows)


def test_of_a_healthy_installation_nothing_is_said(patient):
    patient.well()
    code, rows = patient.examine()
    assert (code, {row["status"] for row in rows}) == (0, {"ok"}), rows
