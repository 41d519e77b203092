"""What people do to code and to merge requests, and what the hooks are told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_sim import discussions
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.repository import ZEROS, Draft, Person

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def do(simulator, website, target):
    """Runs one action on acme/website, as bob at noon, and returns what it made and what was delivered."""
    names = ("push", "tag_push", "merge_requests", "note", "issues")
    website.hooks.create({"url": target.url, **{f"{name}_events": True for name in names}})
    simulator.push({"a": "1", "b": "1"})
    target.take()

    def run(action, *arguments, user="bob", **more):
        where = () if hasattr(action, "__self__") else (simulator.forge,)
        made = simulator.run(action(*where, simulator.website, simulator.world.user(user), *arguments, **more))
        simulator.settle()
        return made, [got.json for got in target.take()]

    return run


def test_a_commit_goes_by_its_committer(simulator, do):
    """Webhooks carry the committer's time and the author's name, readable whatever bytes are in the commit."""
    jose, then = Person("José", "j@x.y", "latin-1"), datetime.fromisoformat("2026-01-31T18:45:47+01:00")
    draft = Draft(message="x", author=jose, at=then, committed_at=then + timedelta(days=40), files={"c": "1"})
    change, (push,) = do(simulator.forge.push, "main", [draft])
    (commit,) = push["commits"]
    assert commit["timestamp"] == "2026-03-12T18:45:47+01:00"
    assert commit["author"] == {"name": "José", "email": "j@x.y"}
    assert b"author Jos\xe9 <" in simulator.website.repository.git("cat-file", "commit", change.after).encode(
        errors="surrogateescape"
    )


def test_a_rebase_and_what_an_open_request_hears(simulator, do, target):
    """Forced: new commits by the same authors. Taking commits back is code that was pushed, too."""
    simulator.push(commits=3, branch="f")
    request, _ = do(discussions.open_merge_request, "f", title="F", at=NOON)
    target.take()
    before, main = simulator.website.repository.tip("f"), simulator.push().after
    target.take()
    change, deliveries = do(simulator.forge.rebase, "f", at=NOON)
    push = next(one for one in deliveries if one["object_kind"] == "push")
    update = next(one["object_attributes"] for one in deliveries if one["object_kind"] == "merge_request")
    git = simulator.website.repository.git
    assert (push["before"], push["after"], push["total_commits_count"]) == (before, change.after, 3 + 1)
    assert git("merge-base", "main", "f").strip() == main
    assert (update["oldrev"], update["last_commit"]["id"]) == (before, change.after)
    _, deliveries = do(simulator.forge.push, "f", [], onto=git("rev-parse", "f~2").strip())
    update = next(one["object_attributes"] for one in deliveries if one["object_kind"] == "merge_request")
    assert (update["action"], update["oldrev"]) == ("update", change.after)
    assert update["last_commit"]["id"] == simulator.website.repository.tip("f") == request.last_commit.sha


def test_squash_and_octopus(simulator, do):
    """Squashed commits are reached by nothing any more; an octopus has a parent for each branch."""
    for branch in ("f", "g", "h"):
        simulator.push(branch=branch, commits=2)
    lost = simulator.website.repository.tip("f")
    request, _ = do(discussions.open_merge_request, "f", title="F", at=NOON)
    _, deliveries = do(discussions.merge, request, at=NOON, squash=True)
    (merged,) = [one["object_attributes"] for one in deliveries if one["object_kind"] == "merge_request"]
    push = next(one for one in deliveries if one.get("ref") == "refs/heads/main")
    assert [commit["id"] for commit in push["commits"]] == [merged["squash_commit_sha"], merged["merge_commit_sha"]]
    assert simulator.website.repository.git("for-each-ref", f"--contains={lost}", "refs/heads") == ""
    assert simulator.website.repository.git("ls-tree", "-r", "--name-only", "main").count("f/") == 2
    change, (push,) = do(simulator.forge.merge_branches, ["g", "h"], "main", at=NOON)
    assert len(change.commits[-1].parents) == 3
    assert push["total_commits_count"] == 5


def test_a_cherry_pick(simulator, do):
    """The same author and change, another commit; an empty one stays empty."""
    ann, then = Person("Ann", "a@x.y"), NOON - timedelta(days=9)
    empty = simulator.run(
        simulator.forge.push(
            simulator.website, simulator.world.user("bob"), "f", [Draft(message="nothing", author=ann, at=then)]
        )
    )
    change, _ = do(simulator.forge.cherry_pick, empty.after, "main", user="chiara", at=NOON)
    (commit,) = change.commits
    assert (commit.author, commit.at, commit.title) == (ann, then, "nothing")
    assert (commit.committer.name, commit.committed_at) == ("Chiara Conti", NOON)
    assert (commit.added, commit.modified, commit.removed) == ((), (), ())


def test_branches_by_the_hundred(simulator, do):
    """Each is a push of its own, without commits."""
    simulator.run(
        simulator.forge.branch_off(simulator.website, simulator.world.user("bob"), [f"n/{n}" for n in range(120)])
    )
    _, deliveries = do(simulator.forge.delete, "refs/heads/n/0")
    assert len(deliveries) == 121
    assert {one["before"] for one in deliveries if one["after"] != ZEROS} == {ZEROS}
    assert sum(one["total_commits_count"] for one in deliveries) == 0
    assert len(simulator.website.repository.git("for-each-ref", "refs/heads").splitlines()) == 120
    for name in ("n", "../../../x"):
        with pytest.raises(BadRequest):
            simulator.website.repository.point(f"refs/heads/{name}", simulator.website.repository.tip("main"))


@pytest.mark.parametrize(("required", "told"), [
    (1, ["approved", "approved", "unapproval", "unapproved"]),
    (2, ["approval", "approved", "unapproved", "unapproval"]),
])  # fmt: skip
def test_approvals(simulator, do, required, told):
    """2.4: one approval that is not enough, enough of them, and the two withdrawn; `updated_at` stays."""
    simulator.push(branch="f")
    request, _ = do(discussions.open_merge_request, "f", title="F", at=NOON, approvals_required=required)
    actions = []
    for action in (discussions.approve, discussions.unapprove):
        for user in ("chiara", "emeka"):
            _, deliveries = do(action, request, user=user, at=NOON + timedelta(minutes=5))
            (attributes,) = [one["object_attributes"] for one in deliveries if one["object_kind"] == "merge_request"]
            actions.append(attributes["action"])
            assert (attributes["updated_at"], attributes["actioned_at"]) == (
                "2026-07-01 12:00:00 UTC", "2026-07-01 12:05:00 UTC",
            )  # fmt: skip
    assert actions == told


def test_labels_change_whatever_the_state(simulator, do):
    """2.4: `update`, with the labels before and after."""
    issue, _ = do(discussions.open_issue, title="I", at=NOON)
    do(discussions.close, issue, at=NOON)
    label = simulator.world.label(simulator.website, "bug")
    _, (got,) = do(discussions.relabel, issue, [label], at=NOON + timedelta(hours=1))
    assert (got["object_attributes"]["action"], got["object_attributes"]["state"]) == ("update", "closed")
    assert got["object_attributes"]["updated_at"] == "2026-07-01 13:00:00 UTC"
    assert got["changes"]["labels"]["previous"] == []
    assert [one["title"] for one in got["changes"]["labels"]["current"]] == ["bug"]
    assert [one["title"] for one in got["labels"]] == ["bug"]
