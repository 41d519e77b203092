"""What can be wrong: each cause once, with its cure. docs/doctor.md is made from this."""

from __future__ import annotations

from gitpulse_cli.doctor.finding import Cause, Status

# --- the operator and what it publishes -------------------------------------------------------------------------------

OPERATOR_NOT_RUNNING = Cause(
    "OperatorNotRunning",
    "The operator has not done its part: resources are not looked at, or the directory of hooks is not complete.",
    "See that the operator runs and what its log says; several shards must all run.",
    "GitPulseOperatorDown",
)
SPEC_INVALID = Cause(
    "SpecInvalid",
    "A resource says what cannot be done.",
    "Correct the field that is named.",
    "GitPulseResourcesStalled",
)
NO_RESOURCES = Cause(
    "NoResources",
    "There is no GitPulseProject of that name, or none at all.",
    "Create one (examples/), name another one, or see that the kubeconfig or folder is the right one.",
)
KEY_DIFFERS = Cause(
    "InstallationKeyDiffers",
    "The directory of hooks in Redis was sealed with another GITPULSE_INSTALLATION_KEY than the one here.",
    "Give operator, receivers, workers and this command the same key, and restart those that had another one.",
    "GitPulseReceiverNotReady",
)
RESOURCE_NOT_READY = Cause(
    "ResourceNotReady",
    "The operator says of the resource that it is not ready, for a reason that no other check finds.",
    "Do what the message says.",
    "GitPulseResourcesNotReady",
    Status.WARNING,
)

# --- Redis, database, workers -----------------------------------------------------------------------------------------

REDIS_UNREACHABLE = Cause(
    "RedisUnreachable",
    "Redis does not answer this machine, so receivers answer 503.",
    "Start it, or correct GITPULSE_REDIS_URL; see firewalls and network policies.",
    "GitPulseRedisUnavailable",
)
REDIS_LOGIN = Cause(
    "RedisLoginRefused",
    "Redis does not accept the user name or password.",
    "Put the right ones into GITPULSE_REDIS_URL, percent-encoded; they need all commands on `gitpulse:*` and `arq:*`.",
    "GitPulseRedisUnavailable",
)
REDIS_READ_ONLY = Cause(
    "RedisReadOnly",
    "Redis is a replica, or refuses to write since it cannot save to its disk.",
    "Point GITPULSE_REDIS_URL to the master, by redis+sentinel:// where that changes; see that its disk is not full.",
    "GitPulseDeliveriesNotStored",
)
REDIS_FULL = Cause(
    "RedisFull",
    "Redis is out of memory: receivers answer 503, and workers cannot work either.",
    "Raise its `maxmemory` above one and a half times GITPULSE_MAX_BACKLOG_BYTES; see that nobody else fills it.",
    "GitPulseDeliveriesNotStored",
)
REDIS_EVICTS = Cause(
    "RedisEvicts",
    "Redis drops keys when its memory runs out: accepted deliveries and the directory of hooks could vanish.",
    "Set its `maxmemory-policy` to noeviction.",
    "GitPulseDeliveriesNotStored",
)
REDIS_FORGETS = Cause(
    "RedisForgets",
    "Redis writes nothing to a disk: what was accepted and not yet counted is lost when it restarts.",
    "Set its `appendonly` to yes, and give it a disk that stays.",
    "GitPulseRedisUnavailable",
    Status.WARNING,
)
DATABASE_UNREACHABLE = Cause(
    "DatabaseUnreachable",
    "The database does not answer this machine: deliveries wait and are not counted.",
    "Start it, or correct GITPULSE_DATABASE_URL (host, port, user, password, database, sslmode).",
    "GitPulseDatabaseUnavailable",
)
DATABASE_OLD = Cause(
    "DatabaseNotMigrated",
    "The database lacks tables of this version.",
    "Run `gitpulse migrate`, or restart a worker of this version, which does the same.",
    "GitPulseDatabaseUnavailable",
)
DATABASE_NEWER = Cause(
    "DatabaseNewer",
    "The database has tables of a newer version of GitPulse.",
    "Run the newer version everywhere; or restore the backup from before the upgrade.",
    "GitPulseDatabaseUnavailable",
)
WORKER_DOWN = Cause(
    "WorkerDown",
    "No worker has been seen in Redis for ten seconds: deliveries are stored, and nothing is counted.",
    "Start `gitpulse worker` with the same GITPULSE_REDIS_URL; see why it ended.",
    "GitPulseWorkerDown",
)
BACKLOG_OLD = Cause(
    "BacklogOld",
    "Workers run, and deliveries wait for minutes all the same.",
    "See what the workers' log says; scale them up; GITPULSE_PARTITIONS must be the same everywhere.",
    "GitPulseBacklogOld",
)
BACKLOG_FULL = Cause(
    "BacklogFull",
    "So much waits to be counted that receivers answer 503.",
    "Let workers catch up, or raise GITPULSE_MAX_BACKLOG and GITPULSE_MAX_BACKLOG_BYTES.",
    "GitPulseBacklogNearLimit",
)
DEAD_LETTERS = Cause(
    "DeadLetters",
    "Some deliveries could not be counted and were laid aside.",
    "`gitpulse deadletters list` says why; after an upgrade `gitpulse deadletters retry --all`.",
    "GitPulseDeadLetters",
    Status.WARNING,
)

# --- GitLab and its token ---------------------------------------------------------------------------------------------

CONNECTION_WRONG = Cause(
    "ConnectionWrong",
    "The GitLabConnection or the Secret with its token is missing, or says what cannot be.",
    "Create or correct what the message names.",
    "GitPulseResourcesStalled",
)
GITLAB_UNREACHABLE = Cause(
    "GitLabUnreachable",
    "GitLab does not answer this machine, or with errors of its own.",
    "Correct the URL, open the way to it, and set `caBundle` where its certificate is of an authority of your own.",
    "GitPulseGitLabErrors",
)
_RENEW = "Make a new one with the scope `api` and put it into the connection's Secret (GITPULSE_GITLAB_TOKEN)."
TOKEN_EXPIRED = Cause(
    "TokenExpired",
    "The token for GitLab has expired, so hooks are looked after no more.",
    _RENEW,
    "GitPulseTokenAlmostExpired",
)
TOKEN_EXPIRING = Cause(
    "TokenExpiring",
    "The token for GitLab expires within two weeks.",
    "Make a new one in time and put it into the connection's Secret; nothing has to be restarted.",
    "GitPulseTokenExpiring",
    Status.WARNING,
)
TOKEN_REVOKED = Cause(
    "TokenRevoked",
    "Somebody has revoked the token for GitLab.",
    _RENEW,
    "GitPulseResourcesStalled",
)
TOKEN_INVALID = Cause(
    "TokenInvalid",
    "GitLab does not know the token.",
    "Copy it anew into the connection's Secret, whole, and see that it is of this very GitLab.",
    "GitPulseResourcesStalled",
)
TOKEN_SCOPE = Cause(
    "TokenScopeMissing",
    "The token lacks the scope that is needed: `api` to look after hooks, `read_api` for a hook made by hand.",
    "Scopes cannot be added: make a new token with it, and replace this one.",
    "GitPulseResourcesStalled",
)
ROLE_TOO_LOW = Cause(
    "RoleTooLow",
    "The token's owner sees the project or group and may not manage its hooks.",
    "Make the owner a Maintainer of the project, or an Owner of the group.",
    "GitPulseResourcesStalled",
)
TARGET_MISSING = Cause(
    "TargetMissing",
    "GitLab has no such project or group, or the token's owner cannot see it.",
    "Correct the path, or invite the token's owner; a group's hooks need GitLab Premium (else `groupMode`).",
    "GitPulseResourcesStalled",
)
CLOCK_OFF = Cause(
    "ClockOff",
    "The clocks of GitLab and the receivers are more than five minutes apart, so that signatures are called stale.",
    "Have both follow a time server (chrony, systemd-timesyncd); the evidence says which one differs from here.",
    "GitPulseDeliveriesRefused",
)

# --- the hook in GitLab -----------------------------------------------------------------------------------------------

HOOK_MISSING = Cause(
    "HookMissing",
    "The hook is not in GitLab: somebody has deleted it, or it was never made.",
    "The operator makes it anew within ten minutes, or at once: `kubectl annotate gitpulseproject/… "
    'gitpulse.io/reconcile-requested-at="$(date -Is)" --overwrite`. By hand: Settings > Webhooks.',
    "GitPulseDriftFight",
)
HOOK_REFUSED = Cause(
    "HookRefused",
    "GitLab has refused to make the hook.",
    "Do what its words say; a project may have 100 hooks, a group 50.",
    "GitPulseResourcesStalled",
)
HOOK_ELSEWHERE = Cause(
    "HookPointsElsewhere",
    "The hook's URL is not that of the receivers: somebody has edited it, or GITPULSE_PUBLIC_URL has changed.",
    "The operator puts it right within ten minutes, or at once when it is annotated; GitLab's audit events say who.",
    "GitPulseDriftFight",
)
HOOK_EVENTS = Cause(
    "HookEventsOff",
    "Kinds of events that the resource wants are switched off in the hook, so that they are missing in the numbers.",
    "The operator puts it right within ten minutes; then `gitpulse backfill PROJECT` fetches what was missed.",
    "GitPulseDriftFight",
)
HOOK_TEMPLATE = Cause(
    "HookTemplate",
    "A custom template changes what the hook sends, so that it is ignored.",
    "Remove the template from the hook; the operator does it within ten minutes.",
    "GitPulseDriftFight",
)
HOOK_FILTERED = Cause(
    "HookFiltered",
    "A branch filter keeps pushes to other branches from being sent.",
    "Remove the filter from the hook; the operator does it within ten minutes.",
    "GitPulseDriftFight",
)
HOOKS_OVERLAP = Cause(
    "HooksOverlap",
    "More than one hook sends the same events here, of a project and a group above it or two of one project. "
    "They are counted once, at twice the load.",
    "Remove the one that is not needed: its GitPulseProject, or the hook that was made by hand.",
    status=Status.WARNING,
)
_REVIVE = (
    "What made them fail seems to be over: the operator revives the hook with a test delivery and fetches what was "
    "missed. By hand: Test in GitLab, then `gitpulse backfill PROJECT`."
)
HOOK_OFF = Cause(
    "HookPaused",
    "GitLab has switched the hook off for a while, after four or more failed deliveries; what happens now is not sent.",
    _REVIVE,
    "GitPulseHooksDisabled",
)
HOOK_OFF_FOR_GOOD = Cause(
    "HookDisabled",
    "GitLab has switched the hook off for good, after forty failed deliveries; nothing is sent any more.",
    _REVIVE,
    "GitPulseHooksDisabledForGood",
)

# --- the way from GitLab to the receivers -----------------------------------------------------------------------------

NAME_UNKNOWN = Cause(
    "NameNotResolved",
    "The host name of the receivers' URL does not resolve.",
    "Create the DNS record, or correct GITPULSE_PUBLIC_URL.",
    "GitPulseHooksUnreachable",
)
NOTHING_LISTENS = Cause(
    "NothingListens",
    "Nothing answers at the receivers' URL: no connection, or no answer in time.",
    "Start the receivers and what is in front of them; see firewall, port, Service and Ingress.",
    "GitPulseReceiverDown",
)
TLS_UNTRUSTED = Cause(
    "CertificateUntrusted",
    "The receivers' certificate is of an authority that is not known, or its chain is not complete.",
    "Use a public authority's, with the intermediate certificates; or have GitLab trust yours "
    "(/etc/gitlab/trusted-certs). The last resort is `sslVerification: false`.",
    "GitPulseHooksUnreachable",
)
TLS_EXPIRED = Cause(
    "CertificateExpired",
    "The receivers' certificate has expired, or is not valid yet.",
    "Renew it, and see why it was not renewed by itself (cert-manager, certbot).",
    "GitPulseHooksUnreachable",
)
TLS_OTHER_NAME = Cause(
    "CertificateForOtherName",
    "The receivers' certificate is for another host name.",
    "Get one for the host of GITPULSE_PUBLIC_URL; see which one the proxy picks for this name.",
    "GitPulseHooksUnreachable",
)
TLS_BROKEN = Cause(
    "NoTls",
    "What answers at the receivers' https:// URL does not speak TLS as it should.",
    "Let the proxy terminate TLS on this port, or use http:// in GITPULSE_PUBLIC_URL.",
    "GitPulseHooksUnreachable",
)
WRONG_PATH = Cause(
    "PathNotReceivers",
    "What answers at the receivers' URL is no receiver: a proxy has no rule for the path, or changes it.",
    "Pass /api/v1/webhooks/gitlab and all below it on unchanged (docs/receiving.md); a prefix belongs into "
    "GITPULSE_PUBLIC_URL and has to be taken off by the proxy.",
    "GitPulseHooksUnreachable",
)
PROXY_ALONE = Cause(
    "ProxyWithoutReceiver",
    "The proxy in front answers that it does not reach a receiver (502, 503 or 504).",
    "Start the receivers; see the proxy's upstream, the Service and its endpoints.",
    "GitPulseReceiverDown",
)
PROXY_REFUSES = Cause(
    "ProxyRefuses",
    "A proxy, firewall or login page in front refuses what GitLab sends.",
    "Let GitLab's addresses through to /api/v1/webhooks/gitlab without a login (docs/receiving.md).",
    "GitPulseHooksUnreachable",
)
ADDRESS_REFUSED = Cause(
    "AddressNotAllowed",
    "The receivers take nothing from the address that GitLab sends from (403).",
    "Add it to GITPULSE_ALLOWED_ADDRESSES; behind a proxy, name that in GITPULSE_TRUSTED_PROXIES.",
    "GitPulseHooksUnreachable",
)
OUTBOUND_BLOCKED = Cause(
    "OutboundRequestsBlocked",
    "GitLab does not send to this address: its filter of outbound requests keeps hooks from local networks.",
    "An administrator allows the host under Admin > Settings > Network > Outbound requests; best by the list of "
    "allowed hosts and ports.",
    "GitPulseHooksUnreachable",
)
GITLAB_CANNOT_RESOLVE = Cause(
    "NameNotResolvedByGitLab",
    "The receivers' host name resolves here and not where GitLab runs.",
    "Put the name into the DNS that GitLab's machines ask.",
    "GitPulseHooksUnreachable",
)
GITLAB_DISTRUSTS = Cause(
    "CertificateUntrustedByGitLab",
    "GitLab does not trust the receivers' certificate, which this machine does.",
    "Send the intermediate certificates too; have GitLab trust your authority (/etc/gitlab/trusted-certs).",
    "GitPulseHooksUnreachable",
)
GITLAB_CANNOT_CONNECT = Cause(
    "UnreachableFromGitLab",
    "The receivers answer this machine, and GitLab gets no connection or no answer in time.",
    "Open the way from GitLab's machines (both Sidekiq and web nodes) to the receivers' URL.",
    "GitPulseHooksUnreachable",
)
GITLAB_SILENT = Cause(
    "GitLabSilentMode",
    "GitLab is in Silent Mode and sends no hooks at all.",
    "An administrator ends it: Admin > Settings > General > Silent Mode.",
    "GitPulseNoDeliveries",
)

# --- what receivers make of it ----------------------------------------------------------------------------------------

SECRET_REFUSED = Cause(
    "SecretRefused",
    "Receivers answer 401: GitLab has another secret for the hook than they have.",
    "Delete the hook in GitLab and annotate the GitPulseProject: it is made anew with the right one. By hand: put one "
    "secret into both GitLab and GITLAB_WEBHOOK_SECRET, and restart the receivers.",
    "GitPulseDeliveriesRefused",
)
HEADERS_DROPPED = Cause(
    "HeadersDropped",
    "Receivers answer 401: what proves a delivery has not come with it, though GitLab has a secret for the hook.",
    "Have what is in front pass on X-Gitlab-Token, webhook-signature, webhook-id and webhook-timestamp.",
    "GitPulseDeliveriesRefused",
)
ROUTE_MISSING = Cause(
    "HookUnknownToReceivers",
    "Receivers answer 401: the directory does not have the hook.",
    "See that the operator runs with this Redis; an annotated GitPulseProject is published anew.",
    "GitPulseDeliveriesRefused",
)
RECEIVER_NOT_READY = Cause(
    "ReceiverNotReady",
    "Receivers answer 503 while Redis and the directory are fine from here: they have another GITPULSE_REDIS_URL or "
    "GITPULSE_INSTALLATION_KEY, or no way to Redis.",
    "Compare both settings with the operator's, and see what the receivers' log says.",
    "GitPulseReceiverNotReady",
)
LIMITED = Cause(
    "TooManyRequests",
    "Receivers answer 429: a limit on refused deliveries of an address, or on a hook's, is reached.",
    "Find who sends with a wrong secret; behind a proxy set GITPULSE_TRUSTED_PROXIES; raise GITPULSE_HOOK_LIMIT.",
    "WebhookHighErrorRate",
)
ANSWERED_BADLY = Cause(
    "AnsweredBadly",
    "GitLab got an answer that is none of a receiver's, or a failure inside one.",
    "See what the evidence says, and the logs of the receivers and of what is in front of them.",
    "WebhookHighErrorRate",
)

ALL = tuple(value for value in vars().copy().values() if isinstance(value, Cause))
"""In the order of this page."""
