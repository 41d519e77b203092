"""The first tables: raw deliveries, and what they say.

A table is written as its columns, `name:type` each, and its comment; `*` is a part of the key, `!` must not be null.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TYPES: dict[str, Any] = {
    "text": sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
    "bytes": sa.LargeBinary().with_variant(postgresql.BYTEA(), "postgresql"),
    "big": sa.BigInteger(),
    "int": sa.Integer(),
    "small": sa.SmallInteger(),
    "time": sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite"),
}
TABLES = {
    "delivery": """
        *received_at:time *hook_id:text *delivery_id:text instance:text event:text body:bytes
        Raw deliveries, so that numbers can be recomputed; in PostgreSQL partitioned by day""",
    "project": """
        *id:big instance:text! gitlab_id:big! path:text name:text web_url:text default_branch:text last_event_at:time!
        version:bytes!
        Projects as their newest event describes them; id is keys.project""",
    "identity": """
        *id:big instance:text gitlab_id:big name:text email:text username:text name_key:text email_key:text
        username_key:text account_key:text version:bytes!
        Under what name somebody appears: a git author (name and e-mail), or a GitLab account; see keys.handles""",
    "push": """
        *project:big *ref:text *before:text *after:text received_at:time! who:big forced:small
        Moves of a branch or tag, once however many hooks told of it; forced is 1 or 0, NULL while not known""",
    "commit": """
        *project:big *sha:text committed_at:time utc_offset:small author:big added:int modified:int removed:int
        seen_at:time! lost_at:time version:bytes!
        Commits; utc_offset in minutes; seen_at: last told of as being there, lost_at: last found in no ref""",
    "merge_request": """
        *project:big *id:big iid:big author:big state:text source_branch:text target_branch:text created_at:time
        merged_at:time closed_at:time deployed_at:time version:bytes!
        Merge requests by GitLab's global id; closed_at: the last close, while closed; deployed_at: in production""",
    "review": """
        *project:big *merge_request:big *who:big at:time!
        When somebody first wrote on a merge request, or approved it; of an approval at first as it was received""",
    "issue": """
        *project:big *id:big iid:big author:big type:text state:text labels:text created_at:time closed_at:time
        version:bytes!
        Issues and other work items by GitLab's global id; labels is a JSON list of titles, sorted""",
    "reopening": """
        *project:big *issue:big *reopened_at:time who:big
        Each time that a closed issue was opened again""",
    "pipeline": """
        *project:big *id:big iid:big ref:text who:big status:text finished_at:time duration:int queued_duration:int
        created_at:time version:bytes!
        Pipelines by GitLab's global id; durations in seconds""",
    "job": """
        *project:big *id:big pipeline:big stage:text name:text who:big status:text finished_at:time duration:int
        queued_duration:int created_at:time version:bytes!
        Jobs by GitLab's global id, each retry its own; durations in whole seconds, rounded down""",
    "deployment": """
        *project:big *id:big environment:text tier:text who:big status:text succeeded_at:time version:bytes!
        Deployments by GitLab's global id; tier as production, staging, …""",
    "release": """
        *project:big *tag:text *created_at:time name:text released_at:time deleted:small version:bytes!
        Releases; one that is made again for the same tag is another; deleted is 1 or NULL""",
    "todo": """
        *project:big *kind:text *item:text hook_id:text! since:time!
        What GitLab is to be asked about, because its deliveries do not tell; a row goes when it is answered""",
    "roster": """
        *source:text teams:text!
        The map of people as each source gave it: a JSON list of contract.Team""",
    "team": """
        *name:text source:text! time_zone:text!
        Teams; of one that several sources have, the first of them decides the time zone""",
    "member": """
        *team:text *person:text
        Who is in which team; persons go by their display name""",
    "alias": """
        *kind:text *value:text person:text!
        Whose an author, email, account (GitLab id), username or name is; values as keys.fold makes them""",
    "bot": """
        *pattern:text
        Patterns of LIKE with the escape character ! for user names and e-mail addresses of machines""",
    "rollup": """
        zone:text! metric:text! by:text! project:big! at:time! who:big label:text value:int n:int!
        How many facts of a metric a day has that are alike; at is the day's start""",
    "rolled": """
        project:big! zone:text! until:time!
        Before when the roll-ups of a project and zone hold, the least of all; zone is empty for a late write""",
    "token": """
        *name:text hash:bytes! teams:text created_at:time! expires_at:time used_at:time
        Tokens of the query API by their SHA-256; teams is a JSON list, NULL for all""",
}
INDEXES = {
    "project": {"gitlab": "gitlab_id", "path": "path"},
    "push": {"received": "project received_at", "who": "who received_at"},
    "commit": {"committed": "project committed_at", "author": "author committed_at"},
    "merge_request": {
        "author": "author",
        **{moment: f"project {moment}_at" for moment in ("created", "merged", "closed", "deployed")},
    },
    "review": {"at": "project at", "who": "who at"},
    "issue": {"author": "author", "created": "project created_at", "closed": "project closed_at"},
    "pipeline": {
        "created": "project created_at",
        "finished": "project finished_at duration queued_duration",
        "who": "who created_at",
        "ref": "project ref status finished_at id who",
        "done_by": "who finished_at duration queued_duration",
    },
    "job": {
        "created": "project created_at",
        "finished": "project finished_at duration queued_duration",
        "who": "who created_at",
        "done_by": "who finished_at duration queued_duration",
    },
    "deployment": {"succeeded": "project succeeded_at"},
    "release": {"released": "project released_at"},
    "todo": {"since": "since"},
    "rollup": {"day": "zone metric by project at", "who": "who metric zone at"},
    "rolled": {"project": "project"},
    "token": {"hash": "hash"},
}


def upgrade() -> None:
    for table, said in TABLES.items():
        words = said.split()
        columns = [_column(word) for word in words if word.strip("*!").partition(":")[2] in TYPES]
        comment = " ".join(words[len(columns) :])
        by_day: dict[str, Any] = {"postgresql_partition_by": "RANGE (received_at)"} if table == "delivery" else {}
        op.create_table(table, *columns, comment=comment, **by_day)
        for name, indexed in INDEXES.get(table, {}).items():
            op.create_index(f"{table}_{name}", table, indexed.split())
    doubtful: Any = sa.text("lost_at IS NOT NULL AND seen_at > lost_at")
    op.create_index("commit_doubtful", "commit", ["project"], postgresql_where=doubtful, sqlite_where=doubtful)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE delivery_rest PARTITION OF delivery DEFAULT")


def _column(word: str) -> sa.Column[Any]:
    name, _, kind = word.strip("*!").partition(":")
    key, required = word.startswith("*"), word.endswith("!")
    return sa.Column(name, TYPES[kind], primary_key=key, autoincrement=False, nullable=not (key or required))
