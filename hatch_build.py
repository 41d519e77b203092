"""Before a wheel, an editable install or an sdist is made: the dashboard's chart library, from npm."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DASHBOARD = Path(__file__).parent / "service/gitpulse_service/dashboard"


class VendoredHook(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
    """Fills static/vendor, where it is not filled yet."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 -- as hatchling calls it
        """Raises RuntimeError saying what to do."""
        runpy.run_path(str(DASHBOARD / "npm/vendored.py"))["fill"](DASHBOARD / "static/vendor")
