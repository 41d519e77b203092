"""Names that GitPulse uses in Kubernetes: its kinds, finalizer, annotations and labels. They never change."""

from __future__ import annotations

import re

GROUP = "gitpulse.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

CONNECTION = "GitLabConnection"
PROJECT = "GitPulseProject"
TEAM = "GitPulseTeam"
PLURALS = {CONNECTION: "gitlabconnections", PROJECT: "gitpulseprojects", TEAM: "gitpulseteams"}
"""Kinds that the operator reconciles, and what they are called in a URL."""

FINALIZER = f"{GROUP}/hook-cleanup"
"""Holds a GitPulseProject back until its hooks are gone from GitLab."""

RECONCILE_REQUESTED = f"{GROUP}/reconcile-requested-at"
"""Annotation: any new value asks for a run now; the status repeats the value that was answered last."""

ROTATE_REQUESTED = f"{GROUP}/rotate-requested-at"
"""Annotation: any new value asks for a new secret; on a GitLabConnection, for one for each of its hooks."""

PART_OF = ("app.kubernetes.io/part-of", "gitpulse")
"""Label of every Secret that we make.

A token's Secret that carries it too is watched, so that a change is seen at once, not only at the next resync.
"""

OWNER = f"{GROUP}/project"
"""Label of a hook's Secret: the name of its GitPulseProject."""


def secret_name(project: str) -> str:
    """The Secret in which a GitPulseProject's hook secrets are kept."""
    return f"gitpulse-{project}"


def memory_name(project: str) -> str:
    """The ConfigMap in which a group's projects are remembered, where each has its own hook."""
    return f"gitpulse-{project}-hooks"


def hook_name(installation: str, namespace: str, name: str) -> str:
    """The name of a hook in GitLab, by which we know it again when its URL was changed."""
    return f"GitPulse {installation}: {namespace}/{name}"


HOOK_NAME = re.compile(r"GitPulse ([0-9a-f]{8}): ([^/]+/[^/]+)")
"""Reads such a name: the installation, and `namespace/name`."""
