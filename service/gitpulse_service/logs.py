"""Log lines: JSON for machines, plain on a terminal. One line a refusal or error, none for what went well."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the call gave as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class PlainLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {record.levelname.lower()}: {record.getMessage()}"
        )
        for name, value in getattr(record, "fields", {}).items():
            line += f" {name}={value!r}" if value else ""
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(*packages: str) -> None:
    """Sends the lines of these packages, else the service's, to standard error, if nobody has seen to them.

    With them go those of a web server and the loop.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines() if sys.stderr.isatty() else JsonLines())
    ours = dict.fromkeys(packages or ("gitpulse_service",), logging.INFO)
    for name, level in {**ours, "uvicorn": logging.WARNING, "asyncio": logging.WARNING}.items():
        logger = logging.getLogger(name)
        if not logger.hasHandlers():
            logger.addHandler(handler)
            logger.setLevel(level)
