"""The facts of small histories, as docs/metrics.md defines and exemplifies them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_sim import ci, discussions, releases
from gitpulse_sim.clock import Clock
from gitpulse_sim.deliver import Answer, Engine
from gitpulse_sim.forge import Forge
from gitpulse_sim.repository import ZEROS, Draft, Person
from gitpulse_sim.seed import demo_world
from gitpulse_sim.truth import Fact, facts

UNIT = {"test": ["unit"]}
NINE = datetime(2026, 6, 1, 9, tzinfo=UTC)  # a Monday


class Story:
    """A project without a server; everything happens at nine plus so many minutes."""

    def __init__(self):
        self.world = demo_world(clock=Clock(NINE))

        async def post(hook, headers, body):
            return Answer(200)

        self.forge = Forge(self.world, Engine(self.world, post))
        self.project = self.world.project("acme/website")
        self.ann, self.ben, self.cleo = (self.world.user(name) for name in ("alice", "bob", "chiara"))
        self.here = (self.forge, self.project)

    def at(self, minutes=0.0, **more):
        self.world.clock.stop_at(NINE + timedelta(minutes=minutes, **more))
        return self.world.clock.now()

    async def push(self, branch="main", *paths, onto=None, user=None):
        who = user or self.ann
        files = {path: f"{self.world.clock.now()}\n" for path in paths or (branch,)}
        draft = Draft(message="x", author=who.git, at=who.local(self.world.clock.now()), files=files)
        return await self.forge.push(self.project, who, branch, [draft], onto=onto)

    async def facts(self, metric, **more):
        return (await facts(self.project, **more))[metric]


@pytest.fixture
def story():
    return Story()


def who(user):
    return ("account", user.id)


async def test_pushes(story):
    """A rebase and a commit more: a force push of two. Deletions and tags are told apart; a push of nothing is none."""
    await story.push()
    await story.push("topic", user=story.ben)
    await story.push()
    await story.forge.rebase(story.project, story.ben, "topic", at=story.at(10))
    story.at(20)
    tip = (await story.push("topic", user=story.ben)).after
    await story.forge.push(story.project, story.ben, "topic", [], onto=tip)
    story.at(30)
    await story.forge.delete(story.project, story.ben, "refs/heads/topic")
    await story.forge.tag(story.project, story.ann, "v1", at=story.at(31))
    await story.forge.delete(story.project, story.ann, "refs/tags/v1")
    found = await facts(story.project)
    assert found["force_pushes"] == [Fact(NINE + timedelta(minutes=10), who(story.ben))]
    assert [(fact.at - NINE).seconds // 60 for fact in found["pushes"]] == [0, 0, 0, 10, 20, 30]
    assert found["branches_created"] == [Fact(NINE, who(story.ann)), Fact(NINE, who(story.ben))]
    assert found["branches_deleted"] == [Fact(NINE + timedelta(minutes=30), who(story.ben))]
    labels = [fact.label for fact in found["branches_active"]]
    assert (labels.count("refs/heads/main"), labels.count("refs/heads/topic")) == (2, 3)
    assert found["tags_created"] == [Fact(NINE + timedelta(minutes=31), who(story.ann))]


async def test_a_push_counts_when_it_was_heard(story):
    """Once, at the first time; one that was never sent a minute after it was made; forth and back again is twice."""
    one = await story.push()
    two = await story.push()
    heard = NINE + timedelta(seconds=7.5)
    for onto in (one.after, two.after):
        await story.forge.push(story.project, story.ann, "main", [], onto=onto)
    found = await story.facts("pushes", heard={("refs/heads/main", ZEROS, one.after): heard})
    late = Fact(NINE + timedelta(minutes=1), who(story.ann))
    assert found == [Fact(NINE + timedelta(seconds=7), who(story.ann)), late, late]
    assert len(await story.facts("force_pushes")) == 1


async def test_commits_that_a_ref_reaches(story):
    """Merges and empty commits too; what a force push or an unmerged branch's end took away does not count."""
    await story.push()
    await story.push("prices", "b")
    await story.push("prices", "c")
    kept = await discussions.open_merge_request(*story.here, story.ann, "prices", title="P", at=story.at(1))
    await discussions.merge(*story.here, story.ben, kept, at=story.at(2))
    assert len(await story.facts("commits")) == 4
    lost = (await story.push("lost", "d")).after
    await discussions.open_merge_request(*story.here, story.ann, "lost", title="L", at=story.at(3))
    assert len(await story.facts("commits")) == 5
    await story.forge.delete(story.project, story.ann, "refs/heads/lost")
    assert len(await story.facts("commits")) == 4
    assert story.project.repository.resolve(lost)
    await story.forge.tag(story.project, story.ann, "again", at=story.at(4), target=lost)
    assert len(await story.facts("commits")) == 5


async def test_commits_go_by_the_committer_and_the_author(story):
    """The moment is the committer's, with its offset; who is the author; a name that is not UTF-8 is readable."""
    jose, at = Person("José Núñez", "jose@x.y", "latin-1"), datetime.fromisoformat("2026-01-31T18:45:47+01:00")
    draft = Draft(message="é", author=jose, at=at - timedelta(days=3), files={"a": "1"}, committer=story.ann.git,
                  committed_at=at)  # fmt: skip
    sha = (await story.forge.push(story.project, story.ann, "main", [draft])).after
    assert b"Jos\xe9 N\xfa\xf1ez <" in story.project.repository.git("cat-file", "commit", sha).encode(
        errors="surrogateescape"
    )
    fact = Fact(at.astimezone(UTC), ("author", "José Núñez", "jose@x.y"))
    assert await story.facts("commits") == [fact]
    assert await story.facts("commit_hours") == [fact._replace(label=138)]


async def test_files(story):
    """A renamed file is an added one; a merge is held against its first parent; an empty commit has no fact."""
    text = "\n".join(map(str, range(50)))
    author, now = story.ann.git, story.at(1)
    drafts = [
        Draft(message="1", author=author, at=now, files={"a": text, "b": "b", "c": "c"}),
        Draft(message="2", author=author, at=now, files={"b": "B", "c": None}, renames={"a": "d"}),
        Draft(message="3", author=author, at=now),
    ]
    await story.forge.push(story.project, story.ann, "main", drafts)
    await story.push("topic", "e", "f")
    await story.forge.merge_branches(story.project, story.ben, ["topic"], "main", at=story.at(2))
    found = [(fact.label, fact.value, fact.who[1]) for fact in await story.facts("files")]
    ann, ben = "Alice Andersson", "Bob Brandt"
    assert sorted(found) == sorted(
        [("added", 3, ann), ("added", 1, ann), ("modified", 1, ann), ("removed", 1, ann), ("added", 2, ann),
         ("added", 2, ben)]
    )  # fmt: skip
    assert len(await story.facts("commits")) == 5


async def test_merge_requests(story):
    """Opened on Monday, closed on Tuesday, reopened on Wednesday, merged on Thursday: one of each but closed."""
    await story.push()
    await story.push("one")
    one = await discussions.open_merge_request(*story.here, story.ann, "one", title="1", at=story.at(0.9))
    await discussions.close(*story.here, story.ben, one, at=story.at(days=1))
    assert await story.facts("merge_requests_closed") == [Fact(NINE + timedelta(days=1), who(story.ann))]
    then = NINE + timedelta(days=1)
    assert await story.facts("merge_requests_open", to=then + timedelta(seconds=1)) == []
    assert [fact.value for fact in await story.facts("merge_requests_open", to=then)] == [86_400 - 54]
    await discussions.reopen(*story.here, story.ben, one, at=story.at(days=2))
    assert len(await story.facts("merge_requests_open", to=then + timedelta(seconds=1))) == 1
    await discussions.merge(*story.here, story.ben, one, at=story.at(days=3))
    merged = Fact(NINE + timedelta(days=3), who(story.ann))
    found = await facts(story.project)
    assert found["merge_requests_opened"] == [Fact(NINE + timedelta(seconds=54), who(story.ann))]
    assert (found["merge_requests_merged"], found["merge_requests_closed"]) == ([merged], [])
    assert found["time_to_merge"] == [merged._replace(value=3 * 86_400 - 54)]
    assert found["merge_requests_open"] == []


async def test_reviews(story):
    """Not the author, no bot, no system note; an approval that was withdrawn counts; one fact for each reviewer."""
    bot = story.world.add_user("bot", "Bot", "bot@x.y", bot=True)
    await story.push()
    await story.push("one")
    one = await discussions.open_merge_request(*story.here, story.ann, "one", title="1", at=story.at())
    for minutes, user in ((5, bot), (10, story.ann), (90, story.ben), (95, story.cleo)):
        await discussions.comment(*story.here, user, one, "hm", at=story.at(minutes))
    await discussions.approve(*story.here, story.ben, one, at=story.at(60))
    await discussions.unapprove(*story.here, story.ben, one, at=story.at(61))
    found = await facts(story.project)
    assert found["time_to_first_review"] == [Fact(NINE + timedelta(hours=1), who(story.ann), value=3600)]
    assert set(found["reviews"]) == {
        Fact(NINE + timedelta(hours=1), who(story.ben), label=who(story.ann)),
        Fact(NINE + timedelta(minutes=95), who(story.cleo), label=who(story.ann)),
    }


async def test_issues(story):
    """As the example of issues_opened; tasks are not counted, incidents apart; labels are the present ones."""
    label = [story.world.label(story.project, title) for title in ("bug", "wish")]
    one = await discussions.open_issue(*story.here, story.ann, title="1", at=story.at(), labels=label[:1])
    task = await discussions.open_issue(*story.here, story.ann, title="T", at=story.at(), type_="Task")
    incident = await discussions.open_issue(*story.here, story.ben, title="I", at=story.at(60), type_="Incident")
    await discussions.close(*story.here, story.ben, incident, at=story.at(150))
    await discussions.close(*story.here, story.ben, task, at=story.at(150))
    for days, do in ((1, discussions.close), (2, discussions.reopen), (4, discussions.close)):
        await do(*story.here, story.cleo, one, at=story.at(days=days))
    await discussions.relabel(*story.here, story.ann, one, label, at=story.at(days=5))
    found = await facts(story.project)
    closed = Fact(NINE + timedelta(days=4), who(story.ann))
    assert found["issues_opened"] == [Fact(NINE, who(story.ann))]
    assert (found["issues_closed"], found["time_to_close"]) == ([closed], [closed._replace(value=345_600)])
    assert found["issues_reopened"] == [Fact(NINE + timedelta(days=2), who(story.cleo))]
    assert [fact.label for fact in found["issues_opened_by_label"]] == ["bug", "wish"]
    assert found["issues_closed_by_label"] == [closed._replace(label="bug"), closed._replace(label="wish")]
    assert found["incidents_opened"] == [Fact(NINE + timedelta(hours=1), who(story.ben))]
    assert found["time_to_restore"] == [Fact(NINE + timedelta(minutes=150), who(story.ben), value=5400)]


async def test_pipelines_and_jobs(story):
    """A retried pipeline is one, with its last end; each retry is a job; what waited for nothing has no queue time."""
    await story.push()
    commit = await story.forge.newest(story.project, "main")
    one = await ci.start_pipeline(
        *story.here, story.ann, "main", commit=commit, at=story.at(), stages={"test": ["unit"]}
    )
    unit = one.jobs[0]
    await ci.step(*story.here, unit, "running", at=story.at(0, seconds=2.5))
    await ci.step(*story.here, unit, "failed", at=story.at(0, seconds=63.9))
    again = await ci.retry(*story.here, story.ben, unit, at=story.at(5))
    found = await facts(story.project)
    assert [fact.label for fact in found["pipelines"]] == ["running"]
    assert (found["pipeline_duration"], found["time_to_green"]) == ([], [])
    await ci.step(*story.here, again, "running", at=story.at(5))
    await ci.step(*story.here, again, "success", at=story.at(10))
    found = await facts(story.project)
    ended = Fact(NINE + timedelta(minutes=10), who(story.ann))
    assert found["pipelines"] == [Fact(NINE, who(story.ann), "success")]
    assert found["pipeline_duration"] == [ended._replace(value=300)]
    assert found["pipeline_queue_time"] == [ended._replace(value=2)]
    assert found["pipeline_success_rate"] == [ended._replace(value=1)]
    assert [(fact.label, fact.who) for fact in found["jobs"]] == [
        ("failed", who(story.ann)),
        ("success", who(story.ben)),
    ]
    failed = Fact(NINE + timedelta(seconds=63), who(story.ann), "test/unit")
    good = Fact(NINE + timedelta(minutes=10), who(story.ben), "test/unit")
    assert found["job_duration"] == [failed._replace(value=61), good._replace(value=300)]
    assert found["job_queue_time"] == [failed._replace(value=2), good._replace(value=0)]
    assert found["job_success_rate"] == [failed._replace(value=0), good._replace(value=1)]


async def test_a_pipeline_that_did_not_wait(story):
    """GitLab has no `queued_duration` for less than a second; one that never ran has no duration either."""
    await story.push()
    commit = await story.forge.newest(story.project, "main")
    for began in (True, False):
        at = story.at()
        one = await ci.start_pipeline(*story.here, story.ann, "main", commit=commit, at=at, stages=UNIT)
        for status in ("running", "canceled")[not began :]:
            await ci.step(*story.here, one.jobs[0], status, at=story.at(0, seconds=0.9 if status == "running" else 60))
    found = await facts(story.project)
    assert ([fact.value for fact in found["pipeline_duration"]], found["pipeline_queue_time"]) == ([59], [])
    assert [fact.value for fact in found["job_duration"]] == [59]
    assert [fact.value for fact in found["job_queue_time"]] == [0]
    assert found["pipeline_success_rate"] == found["job_success_rate"] == []


async def test_time_to_green(story):
    """Fails at 10:00 and 10:20, succeeds at 10:30 and 11:00; other branches do not count, nor what was canceled."""
    await story.push()
    commit = await story.forge.newest(story.project, "main")
    ends = ((60, "failed", "main"), (70, "success", "topic"), (75, "canceled", "main"), (80, "failed", "main"),
            (90, "success", "main"), (120, "success", "main"))  # fmt: skip
    for minutes, status, ref in ends:
        at = story.at(minutes)
        one = await ci.start_pipeline(*story.here, story.ben, ref, commit=commit, at=at, stages=UNIT)
        await ci.step(*story.here, one.jobs[0], status, at=at)
    assert await story.facts("time_to_green") == [Fact(NINE + timedelta(minutes=90), who(story.ben), value=1800)]
    rates = [fact.value for fact in await story.facts("pipeline_success_rate")]
    assert rates == [0, 1, 0, 1, 1]


async def test_deployments(story):
    """Merged at 9:00, deployed at 9:45: 2,700, once; of the tier production only; releases but those taken back."""
    await story.push()
    await story.push("one")
    request = await discussions.open_merge_request(*story.here, story.ann, "one", title="1", at=story.at())
    await discussions.merge(*story.here, story.ben, request, at=story.at())
    commit = await story.forge.newest(story.project, "main")
    for minutes, place, status in ((20, "staging", "success"), (45, "production", "success"),
                                   (60, "prod-eu", "success"), (80, "production", "failed")):  # fmt: skip
        one = await ci.deploy(*story.here, story.ben, place, at=story.at(minutes - 1), commit=commit)
        await ci.change_deployment(*story.here, one, status, at=story.at(minutes))
    deployed = Fact(NINE + timedelta(minutes=45), who(story.ben), "production")
    assert await story.facts("deployments") == [
        deployed, Fact(NINE + timedelta(minutes=60), who(story.ben), "prod-eu"),
    ]  # fmt: skip
    assert await story.facts("lead_time_for_changes") == [Fact(deployed.at, who(story.ann), value=2700)]
    await releases.create(*story.here, story.ann, "v1.0", at=story.at(90), released_at=NINE)
    gone = await releases.create(*story.here, story.ann, "v1.1", at=story.at(91))
    await releases.delete(*story.here, gone)
    assert await story.facts("releases") == [Fact(NINE, None)]


async def test_nothing_happened(story):
    assert await facts(story.project) == {}
