"""The composition root for `kopf run -m gitpulse_operator.main`. It holds no logic.

Importing it reads the settings, so that a wrong one is told in a line, before anything is started.
"""

from __future__ import annotations

import sys

import kopf

from gitpulse_operator.handlers import register
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import SettingsError

try:
    settings = OperatorSettings.load()
except SettingsError as error:
    sys.stderr.write(f"gitpulse operator: {error}\n")
    raise SystemExit(2) from None

register(kopf.get_default_registry(), settings)
