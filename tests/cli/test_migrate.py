"""`gitpulse migrate`, which the chart's Job runs before an upgrade."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys


def run(**environment):
    argv = [sys.executable, "-m", "gitpulse_cli", "migrate"]
    return subprocess.run(
        argv, env={**os.environ, **environment}, check=False, capture_output=True, text=True, timeout=60
    )


def test_it_makes_the_tables_and_finds_nothing_more_to_do(service_environment, tmp_path):
    for _ in range(2):
        done = run()
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "the database has the tables of this version\n"
    with sqlite3.connect(tmp_path / "gitpulse.db") as connection:
        assert connection.execute("SELECT count(*) FROM merge_request").fetchone() == (0,)
        assert len(connection.execute("SELECT version_num FROM alembic_version").fetchall()) == 1
    connection.close()


def test_without_a_database_it_says_what_to_set(service_environment):
    done = run(GITPULSE_DATABASE_URL="")
    assert done.returncode == 2
    assert "GITPULSE_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
