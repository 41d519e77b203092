"""`gitpulse tokens` as its user runs it: what it prints, what it does, its exit codes."""

import asyncio
import json
import os

import pytest

from gitpulse_service.store import tokens
from gitpulse_service.store.engine import create_engine


@pytest.fixture
def run(gitpulse, service_environment):
    return lambda *argv, **more: gitpulse("tokens", *argv, **more)


def found(secret):
    async def find():
        engine = create_engine(os.environ["GITPULSE_DATABASE_URL"])
        try:
            return await tokens.find(engine, secret)
        finally:
            await engine.dispose()

    return asyncio.run(find())


def test_a_token_is_printed_alone_and_works_until_it_is_revoked(run):
    code, out, err = run("create", "grafana", "--team", "web", "--team", "ops", "--expires", "90d")
    assert (code, out.count("\n"), out[:4]) == (0, 1, "gpt_")
    assert "grafana: for web, ops, until 20" in err
    assert found(out.strip()).teams == {"web", "ops"}
    assert run("revoke", "grafana")[0] == 0
    assert found(out.strip()) is None


def test_they_are_listed_without_what_they_open(run):
    assert run("list", "-o", "json") == (0, "[]\n", "no tokens\n")
    secret = run("create", "all", "--expires", "never")[1].strip()
    run("create", "[bold]web", "--team", "web")
    (web, every) = sorted(json.loads(run("list", "-o", "json")[1]), key=lambda row: row["name"])
    assert (every["name"], every["teams"], every["expires"], every["used"]) == ("all", "all", None, None)
    assert (web["teams"], web["expires"][:2]) == (["web"], "20")
    code, out, _ = run("list")
    assert (code, "[bold]web" in out, secret[4:] in out) == (0, True, False)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("create", "x", "--expires", "soon"), "a number of days such as `90d`"),
        (("create", "x", "--expires", "0d"), "a number of days such as `90d`"),
        (("revoke", "nobody"), "there is no token nobody; `gitpulse tokens list` shows them"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(run, argv, says):
    code, out, err = run(*argv)
    assert (code, out, says in " ".join(err.split())) == (2, "", True), err


def test_a_name_is_taken_once(run):
    run("create", "grafana")
    code, out, err = run("create", "grafana")
    assert (code, out, "there is a token grafana already" in err) == (2, "", True)
