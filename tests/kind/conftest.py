"""The chart on a real cluster, beside a GitLab in the same cluster. The tests of a file are one story, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx2
import pytest

from harness.built import ProgramMissing
from harness.images import CLUSTER
from harness.kind import Kind, cluster
from harness.village import GitLab


@pytest.fixture(scope="session")
def kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    try:
        with cluster() as made:
            yield made
    except ProgramMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def gitlab(kind: Kind) -> Iterator[GitLab]:
    kind.namespace("gitlab", **{"pod-security.kubernetes.io/enforce": "restricted"})
    kind.kubectl("-n", "gitlab", "apply", "-f", CLUSTER / "simulator/gitlab.yaml")
    kind.kubectl("-n", "gitlab", "rollout", "status", "deployment/gitlab", "--timeout=120s")
    with kind.forward("gitlab", "service/gitlab", 8929) as url, httpx2.Client(timeout=30) as client:
        yield GitLab(url, client)
