"""docs/operator.md knows every reason that a resource can show."""

from __future__ import annotations

import pytest

from gitpulse_operator.errors import OperatorError
from harness.controlplane import ROOT

NEVER_IN_A_STATUS = {"", "NoKubernetes", "PortTaken", "ManifestInvalid"}


def reasons(kind: type[OperatorError]) -> set[str]:
    return {kind.reason}.union(*(reasons(sub) for sub in kind.__subclasses__()))


@pytest.mark.parametrize("reason", sorted(reasons(OperatorError) - NEVER_IN_A_STATUS))
def test_every_reason_is_explained(reason):
    assert f"`{reason}`" in (ROOT / "docs" / "operator.md").read_text()
