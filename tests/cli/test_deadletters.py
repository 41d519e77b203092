"""`gitpulse deadletters` as its user runs it: what it prints, what it does, its exit codes."""

import asyncio
import json

import pytest

from gitpulse_service.log.redis_log import partition_of
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.processes import free_port

BODY = '{"object_kind":"push","user_name":"Zoë"}'


@pytest.fixture
def run(gitpulse, service_environment):
    return lambda *argv, **more: gitpulse("deadletters", *argv, **more)


@pytest.fixture
def letters(redis_url, run):
    """One that was stored, then one that was not; the ids in this order."""

    async def bury():
        log = open_log(redis_url, partitions=16)
        partition = partition_of("hook", 16)
        await log.append([envelope("one", body=BODY.encode())])
        (entry,) = await log.read(partition, consumer="a", count=9, size=9)
        await log.bury(entry, "StoreRefused: [bold]no[/bold]")
        await log.bury_unread(envelope("two", hook_id="", body=b"\xff{"), "not_json")
        await log.aclose()

    asyncio.run(bury())
    return [row["id"] for row in reversed(json.loads(run("list", "-o", "json")[1]))]


def backlog(redis_url):
    async def ask():
        log = open_log(redis_url, partitions=16)
        try:
            return sum((await log.backlog()).values())
        finally:
            await log.aclose()

    return asyncio.run(ask())


def test_they_are_listed_the_newest_first(run, letters):
    code, out, _ = run("list", "-o", "json")
    malformed, refused = json.loads(out)
    assert code == 0
    assert [malformed[k] for k in ("hook", "event", "reason", "size")] == ["(by hand)", "Push Hook", "not_json", 2]
    assert [refused[k] for k in ("id", "hook", "event", "reason", "size")] == [
        letters[0], "hook", "Push Hook", "StoreRefused: [bold]no[/bold]", len(BODY.encode()),
    ]  # fmt: skip
    assert refused["when"].startswith("20")
    code, out, _ = run("list")
    row = next(line for line in out.splitlines() if letters[0] in line)
    assert all(str(value) in row for value in refused.values())
    assert [row["id"] for row in json.loads(run("list", "-o", "json", "--limit", "1")[1])] == [letters[1]]


def test_one_is_shown_with_its_headers_and_body(run, letters):
    code, out, _ = run("show", letters[0])
    head, _, body = out.partition("\n\n")
    assert code == 0
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert fields["hook"] == "hook"
    assert fields["webhook-id"] == "one"
    assert fields["X-Gitlab-Event"] == "Push Hook"
    assert fields["X-Gitlab-Instance"] == "https://gitlab.example.com"
    assert fields["received"] == "2026-05-28T20:26:40Z"
    assert body == '{\n  "object_kind": "push",\n  "user_name": "Zoë"\n}\n'
    assert run("show", "--raw", letters[0])[1] == BODY
    assert run("show", letters[1])[1].endswith("\n\n\\xff{\n")


def test_one_is_put_back(run, letters, redis_url):
    assert run("retry", letters[0]) == (0, "", "1 put back\n")
    assert backlog(redis_url) == 1
    code, _, err = run("retry", letters[0])
    assert (code, err) == (
        2, f"gitpulse: there is no dead letter '{letters[0]}'; `gitpulse deadletters list` shows them\n",
    )  # fmt: skip


def test_what_was_malformed_is_refused_with_a_word(run, letters, redis_url):
    code, out, err = run("retry", *letters)
    assert (code, out) == (2, "")
    assert err == (
        f"gitpulse: {letters[1]} cannot be put back: it was malformed (not_json) and never stored, so that there is"
        " nothing to count; drop it\n"
    )
    assert backlog(redis_url) == 0, "all or none"
    assert run("retry", "--all") == (0, "", "1 put back, 1 stay: nothing in them can be counted\n")
    assert backlog(redis_url) == 1


def test_they_are_dropped_when_that_is_confirmed(run, letters):
    code, _, err = run("drop", "--all", stdin="n\n")
    assert code == 1
    assert "Drop 2 dead letters for good?" in err
    assert run("drop", letters[0])[0] == 1, "nobody there to answer"
    assert len(json.loads(run("list", "-o", "json")[1])) == 2
    assert run("drop", letters[0], stdin="y\n")[0] == 0
    assert run("drop", "--all", "--yes") == (0, "", "1 dropped\n")
    assert run("list") == (0, "", "no dead letters\n")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["show", "nonsense"], "there is no dead letter 'nonsense'"),
        (["retry", "99-0"], "there is no dead letter '99-0'"),
        (["drop", "99-0", "--yes"], "there is no dead letter '99-0'"),
        (["retry"], "name dead letters by their ids, or say --all"),
        (["drop", "1-0", "--all", "--yes"], "name dead letters by their ids, or say --all"),
    ],
)
def test_a_wrong_id_is_one_line(run, argv, says):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_redis_that_is_away_is_one_line_without_its_password(run):
    code, _, err = run("list", GITPULSE_REDIS_URL=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert code == 1
    assert "Redis cannot be used" in err
    assert "hunter2" not in err
    assert err.count("\n") == 1
