"""A GitPulseProject from nothing to gone, through the simulated GitLab, a real Redis and a folder of resources."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from datetime import timedelta

import gitlab
import pytest

from gitpulse_operator.domain.credentials import derive
from gitpulse_operator.errors import GitLabUnavailable, RateLimited
from gitpulse_operator.metrics import GITLAB_REQUESTS, HOOKS_CORRECTED
from gitpulse_service.contract import WEBHOOK_PATH, feedback_key, hook_id, installation_id
from gitpulse_sim.faults import Fault
from gitpulse_sim.people import Role
from harness.cluster import total
from harness.house import PUBLIC_URL, conditions
from harness.life import Life as Living
from harness.mortal import Life, run_once


def root(house) -> bytes:
    """The random bytes that were made for `website`, as the state file keeps them."""
    secrets = json.loads(house.state.read_text())["GitPulseProject/default/website"]["secrets"]
    (encoded,) = secrets["gitpulse-website"].values()
    return base64.b64decode(encoded)


async def test_a_hook_is_made_as_the_resource_asks(house):
    done = await house.run()
    (hook,) = house.hooks()
    assert hook.url.startswith(f"{PUBLIC_URL}{WEBHOOK_PATH}/")
    assert hook.name == f"GitPulse {installation_id(house.key)}: default/website"
    assert hook.events == {"push_events", "merge_requests_events", "note_events", "issues_events", "pipeline_events"}
    assert hook.enable_ssl_verification
    status = done["website"].status
    assert conditions(done["website"]) == {
        "Ready": ("True", "Installed"),
        "HookInstalled": ("True", "Installed"),
        "CredentialsValid": ("True", "TokenAccepted"),
        "Delivering": ("Unknown", "NoDeliveryYet"),
        "SecretCurrent": ("True", "Current"),
    }
    assert status["target"] == {
        "kind": "Project",
        "id": house.simulator.website.id,
        "path": "acme/website",
        "instance": house.simulator.url,
    }
    assert status["hookID"] == hook.id
    assert status["secret"]["generation"] == 1
    assert status["secret"]["type"] == "SigningToken"
    assert status["hooks"]["installed"] == 1


async def test_gitlab_and_receivers_have_the_same_secret_and_nobody_else_does(house, caplog):
    caplog.set_level(logging.DEBUG)
    done = await house.run()
    (hook,) = house.hooks()
    route = house.route_of(hook)
    secret = derive(1, root(house), f"project/{house.simulator.website.id}")
    assert hook.signing_token == secret.signing_token
    assert hook.token in (None, "")
    assert route.require_signature
    assert [(c.generation, c.token, c.signing_key) for c in route.credentials] == [
        (1, secret.token, secret.signing_key)
    ]
    assert (route.resource, route.instance) == ("default/website", house.simulator.url)
    said = repr(done) + json.dumps(done["website"].status) + caplog.text
    for forbidden in (secret.token, secret.signing_token, house.token, root(house).hex()):
        assert forbidden not in said
    assert house.state.stat().st_mode & 0o077 == 0


async def test_receivers_know_the_hook_before_gitlab_does(house):
    house.simulator.world.faults.append(Fault(path="*/hooks", method="POST", status=500))
    await house.run()
    assert house.hooks() == []
    assert len(house.routes()) == 1


async def test_a_second_run_changes_nothing_and_asks_gitlab_once(house):
    await house.run()
    state = house.state.read_text()
    (before,) = house.hooks()
    house.simulator.world.faults.append(Fault(path="/api/v4/projects/*", method="P*", status=500, count=-1))
    house.simulator.world.faults.append(Fault(path="/api/v4/projects/acme*", status=500, count=-1))
    done = await house.run()
    assert done["website"].ready.status == "True"
    assert house.state.read_text() == state
    assert house.hooks() == [before]


async def test_the_hook_is_found_again_after_the_state_was_lost(house):
    await house.run()
    (before,) = house.hooks()
    lost = before.signing_token
    house.state.unlink()
    await house.run()
    (after,) = house.hooks()
    assert after.id == before.id
    assert after.signing_token != lost, "GitLab must be given the new secret"
    assert house.route_of(after).credentials[0].signing_key == derive(1, root(house), "project/1").signing_key


async def test_a_lost_secret_is_replaced_and_sent(house):
    await house.run()
    (hook,) = house.hooks()
    old = hook.signing_token
    state = json.loads(house.state.read_text())
    del state["GitPulseProject/default/website"]["secrets"]
    house.state.write_text(json.dumps(state))
    done = await house.run()
    assert done["website"].status["secret"]["generation"] == 2
    assert hook.signing_token == derive(2, root(house), "project/1").signing_token != old


async def test_duplicates_of_ours_are_folded_and_foreign_hooks_left_alone(house):
    await house.run()
    (hook,) = house.hooks()
    with gitlab.Gitlab(house.simulator.url, private_token=house.token) as client:
        hooks = client.projects.get(house.simulator.website.id, lazy=True).hooks
        hooks.create({"url": hook.url})
        hooks.create({"url": "https://elsewhere.example.com/x", "name": hook.name})
        foreign = [
            hooks.create({"url": "https://ci.example.com/hook"}),
            hooks.create(
                {"url": f"{PUBLIC_URL}{WEBHOOK_PATH}/{'a' * 32}", "name": "GitPulse 00000000: default/website"}
            ),
        ]
    await house.run()
    assert {h.id for h in house.hooks()} == {hook.id, *(f.id for f in foreign)}


@pytest.mark.parametrize(
    "edit",
    [
        lambda hook: hook.events.discard("push_events"),
        lambda hook: hook.events.add("job_events"),
        lambda hook: hook.events.add("resource_deploy_token_events"),
        lambda hook: setattr(hook, "enable_ssl_verification", False),
        lambda hook: setattr(hook, "name", "mine now"),
        lambda hook: setattr(hook, "description", "?"),
        lambda hook: setattr(hook, "push_events_branch_filter", "main"),
        lambda hook: setattr(hook, "custom_webhook_template", '{"x": 1}'),
        lambda hook: setattr(hook, "signing_token", None),
        lambda hook: setattr(hook, "token", "another"),
    ],
)
async def test_drift_is_put_right(house, edit):
    await house.run()
    (hook,) = house.hooks()
    signing_token = hook.signing_token
    edit(hook)
    await house.run()
    assert house.hooks() == [hook]
    assert hook.events == {"push_events", "merge_requests_events", "note_events", "issues_events", "pipeline_events"}
    assert hook.enable_ssl_verification
    assert hook.name.startswith("GitPulse ")
    assert hook.description != "?"
    assert not hook.push_events_branch_filter
    assert not hook.custom_webhook_template
    assert (hook.signing_token, hook.token or None) == (signing_token, None)


async def test_what_somebody_else_changes_again_and_again_is_counted_as_such(house):
    def corrected() -> tuple[float, float]:
        return total(HOOKS_CORRECTED, again="no"), total(HOOKS_CORRECTED, again="yes")

    first, again = corrected()
    async with Living.begun(house) as life:
        await life.run()
        house.simulator.world.faults.append(Fault(path="*/hooks/*", method="PUT", status=502))
        house.hooks()[0].events.discard("push_events")
        await life.run()
        assert corrected() == (first, again), "it is not put right yet"
        await life.run()
        assert corrected() == (first + 1, again)
        await life.run()
        assert corrected() == (first + 1, again)
        house.simulator.website.hooks.clear()
        await life.run()
        assert corrected() == (first + 1, again + 1)
        life.later = timedelta(days=2)
        house.hooks()[0].enable_ssl_verification = False
        await life.run()
        assert corrected() == (first + 2, again + 1), "long ago is another story"


async def test_what_we_change_ourselves_is_no_correction(house):
    await house.run()
    before = total(HOOKS_CORRECTED)
    house.change(sslVerification=False)
    await house.run()
    house.change(secret={"type": "Token"})
    await house.run()
    house.change(project="acme/api")
    await house.run()
    house.simulator.api.hooks.clear()
    house.change(adoptionPolicy="Observe")
    await house.run()
    assert total(HOOKS_CORRECTED) == before


async def test_a_deleted_hook_comes_back(house):
    await house.run()
    house.simulator.website.hooks.clear()
    done = await house.run()
    (hook,) = house.hooks()
    assert done["website"].status["hookID"] == hook.id
    assert hook.signing_token


async def test_a_changed_url_carries_the_secrets(house):
    house.simulator.world.instance.version = "18.5.0"
    await house.run()
    (hook,) = house.hooks()
    token = hook.token
    assert token
    house.public_url = "https://new.example.com/base"
    await house.run()
    assert house.hooks() == [hook]
    assert hook.url.startswith("https://new.example.com/base/api/v1/webhooks/gitlab/")
    assert hook.token == token, "GitLab forgets the token of a hook whose URL changes"


async def test_an_older_gitlab_gets_a_token(house):
    house.simulator.world.instance.version = "18.5.0"
    done = await house.run()
    (hook,) = house.hooks()
    assert (hook.token, hook.signing_token) == (house.route_of(hook).credentials[0].token, None)
    assert not house.route_of(hook).require_signature
    assert done["website"].status["secret"]["type"] == "Token"


async def test_it_never_goes_back_to_tokens_by_itself(house):
    await house.run()
    house.simulator.world.instance.version = "18.5.0"
    done = await house.run()
    assert done["website"].ready.reason == "SignatureUnavailable"
    assert house.route_of(house.hooks()[0]).require_signature


async def test_an_explicit_signing_token_is_not_made_a_token(house):
    house.simulator.world.instance.version = "18.5.0"
    house.change(secret={"type": "SigningToken"})
    done = await house.run()
    assert conditions(done["website"])["Stalled"] == ("True", "SignatureUnavailable")
    assert house.hooks() == []


async def test_plain_tokens_where_they_are_asked_for(house):
    house.change(secret={"type": "Token"})
    await house.run()
    (hook,) = house.hooks()
    assert hook.token == house.route_of(hook).credentials[0].token
    assert hook.signing_token is None


async def test_another_project_moves_the_hook(house):
    await house.run()
    (old,) = house.hooks()
    house.change(project="acme/api")
    done = await house.run()
    assert house.hooks() == []
    (new,) = house.hooks("acme/api")
    assert set(house.routes()) == {new.url.rpartition("/")[2]}
    assert new.url != old.url
    assert done["website"].status["target"]["path"] == "acme/api"


async def test_a_move_that_was_interrupted_is_finished(house):
    await house.run()
    house.change(project="acme/api")
    old = f"/api/v4/projects/{house.simulator.website.id}/hooks*"
    house.simulator.world.faults.append(Fault(path=old, status=502))
    done = await house.run()
    assert conditions(done["website"])["Reconciling"] == ("True", "GitLabUnavailable")
    assert len(house.hooks()) == len(house.hooks("acme/api")) == 1, "the old one stays until the new one is there"
    done = await house.run()
    assert done["website"].ready.status == "True"
    assert house.hooks() == []
    assert len(house.hooks("acme/api")) == 1


class Deaf(Life):
    """GitLab makes the hook, and nobody hears of it."""

    def step(self, part, name, *, done):  # noqa: ARG002
        if name == "create_hook" and done:
            raise GitLabUnavailable("its answer was lost")


async def test_a_hook_that_nobody_heard_of_is_welcome(house):
    """Even if Redis has lost all it had, and GitLab does not answer any more."""
    await run_once(house, Deaf())
    (hook,) = house.hooks()
    house.flush()
    house.simulator.world.faults.append(Fault(status=502, count=9))
    assert (await house.run())["website"].ready.status == "False"
    assert house.route_of(hook).credentials


async def test_a_hook_that_nobody_heard_of_goes_with_its_target(house):
    await run_once(house, Deaf())
    assert len(house.hooks()) == 1
    house.change(project="acme/api")
    await house.run()
    (hook,) = house.hooks("acme/api")
    assert house.hooks() == []
    assert set(house.routes()) == {hook.url.rpartition("/")[2]}


async def test_another_name_of_the_same_gitlab_keeps_the_hook_received(house):
    before = (await house.run())["website"].status["target"]
    (hook,) = house.hooks()
    house.connection["url"] = house.simulator.url.replace("127.0.0.1", "localhost")
    house.simulator.world.faults.append(Fault(path="/api/v4/projects/*", status=502))
    done = (await house.run())["website"]
    assert done.ready.reason == "GitLabUnavailable"
    assert done.status["target"] == before
    assert house.route_of(hook).credentials
    done = (await house.run())["website"]
    assert house.hooks() == [hook]
    assert house.route_of(hook).instance == done.status["target"]["instance"] == house.connection["url"]


async def test_a_renamed_project_is_followed(house):
    await house.run()
    house.simulator.world.move(house.simulator.website, path="site")
    done = await house.run()
    assert done["website"].ready.status == "True"
    assert len(house.hooks("acme/site")) == 1


async def test_a_project_that_was_renamed_before_it_was_found_costs_no_more_than_any_other(house):
    """GitLab leads from the old path to the new one."""
    house.simulator.world.move(house.simulator.website, path="site")
    done = await house.run()
    assert done["website"].ready.status == "True"
    assert done["website"].status["target"]["path"] == "acme/website"
    await house.run()
    before = total(GITLAB_REQUESTS)
    await house.run()
    assert total(GITLAB_REQUESTS) - before == 3, "version and token for the connection, hooks for the project"


async def test_a_group_has_its_hook(house):
    house.projects = {"acme": house.project(group="acme", events=["Push", "Member"])}
    done = await house.run()
    (hook,) = house.simulator.world.find_group("acme").hooks.values()
    assert hook.events == {"push_events", "member_events"}
    assert done["acme"].status["groupMode"] == "GroupHook"
    assert done["acme"].status["target"]["kind"] == "Group"
    house.projects = {}
    await house.run()
    assert house.simulator.world.find_group("acme").hooks == {}


async def test_a_group_without_licence_says_what_it_needs(house):
    house.simulator.world.instance.tier = "free"
    house.simulator.world.instance.unlicensed_group_hooks_status = 403
    house.projects = {"acme": house.project(group="acme", groupMode="GroupHook")}
    done = await house.run()
    assert conditions(done["acme"])["Stalled"] == ("True", "Forbidden")
    assert "Premium" in done["acme"].ready.message


async def test_observe_tells_and_touches_nothing(house):
    house.change(adoptionPolicy="Observe")
    done = await house.run()
    assert house.hooks() == []
    assert house.routes() == {}
    assert conditions(done["website"])["Ready"] == ("False", "WouldChange")
    assert "create the hook" in done["website"].ready.message


async def test_suspended_means_left_alone_and_still_received(house):
    await house.run()
    (hook,) = house.hooks()
    hook.events.clear()
    house.change(suspend=True)
    route = house.route_of(hook)
    house.flush()
    done = await house.run()
    assert hook.events == set()
    assert house.route_of(hook) == route
    assert conditions(done["website"])["Ready"] == ("Unknown", "Suspended")


async def test_routes_come_back_while_gitlab_is_away(house):
    await house.run()
    (hook,) = house.hooks()
    route = house.route_of(hook)
    house.flush()
    house.simulator.world.faults.append(Fault(status=503, count=-1))
    done = await house.run()
    assert house.route_of(hook) == route
    assert conditions(done["website"])["Ready"] == ("False", "GitLabUnavailable")
    assert conditions(done["website"])["HookInstalled"][0] == "True"


@pytest.mark.parametrize(
    ("fault", "reason", "passing"),
    [
        (Fault(path="*/hooks", status=401), "CredentialsInvalid", False),
        (Fault(path="*/hooks", status=403), "Forbidden", False),
        (Fault(path="*/hooks", status=404), "TargetNotFound", False),
        (Fault(path="*/hooks", method="POST", status=422), "RefusedByGitLab", False),
        (Fault(path="*/hooks", status=429, retry_after=7), "RateLimited", True),
        (Fault(path="*/hooks", status=502), "GitLabUnavailable", True),
    ],
)
async def test_refusals_become_conditions(house, fault, reason, passing):
    house.simulator.world.faults.append(fault)
    done = await house.run()
    found = conditions(done["website"])
    assert found["Ready"] == ("False", reason)
    assert ("Reconciling" if passing else "Stalled") in found
    assert ("Stalled" if passing else "Reconciling") not in found
    assert (await house.run())["website"].ready.status == "True", "and it goes on by itself once that is over"


async def test_a_token_without_scope_says_which_it_needs(house):
    owner = house.simulator.world.user("alice")
    house.simulator.world.add_token(owner, "reads-only", scopes=("read_api",))
    house.token = "reads-only"
    done = await house.run()
    assert conditions(done["gitlab"])["CredentialsValid"] == ("False", "InsufficientScope")
    assert conditions(done["website"])["CredentialsValid"] == ("False", "InsufficientScope")
    assert '"api"' in done["website"].ready.message


async def test_a_developer_may_not_manage_hooks(house):
    user = house.simulator.world.user("chiara")
    assert house.simulator.world.role(user, house.simulator.website) == Role.DEVELOPER
    house.simulator.world.add_token(user, "developer-token")
    house.token = "developer-token"
    done = await house.run()
    assert conditions(done["website"])["Stalled"] == ("True", "Forbidden")
    assert "Maintainer" in done["website"].ready.message


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda house: setattr(house, "token", "wrong"), "CredentialsInvalid"),
        (lambda house: setattr(house, "token", ""), "SecretMissing"),
        (lambda house: setattr(house, "token", "two\nlines"), "CredentialsInvalid"),
        (lambda house: house.connection.update(tokenSecretRef={"name": "other"}), "SecretMissing"),
        (lambda house: house.change(connectionRef={"name": "other"}), "ConnectionMissing"),
    ],
)
async def test_without_credentials(house, spoil, reason):
    spoil(house)
    done = await house.run()
    assert conditions(done["website"])["CredentialsValid"] == ("False", reason)
    assert conditions(done["website"])["Ready"] == ("False", reason)


async def test_a_transition_time_moves_only_when_the_status_flips(house):
    await house.run()
    state = json.loads(house.state.read_text())
    for condition in state["GitPulseProject/default/website"]["status"]["conditions"]:
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    house.state.write_text(json.dumps(state))
    house.simulator.world.faults.append(Fault(path="*/hooks", status=502))
    done = await house.run()
    times = {c["type"]: c["lastTransitionTime"] for c in done["website"].status["conditions"]}
    assert times["HookInstalled"] == "2020-01-01T00:00:00Z"
    assert times["Ready"] != "2020-01-01T00:00:00Z"


async def test_what_receivers_and_gitlab_say_of_deliveries(house):
    done = await house.run()
    (hook,) = house.hooks()
    feedback = feedback_key(hook_id(house.key, house.uid("website"), "project/1"))
    house.redis.hset(feedback, mapping={"accepted:1": 1000})
    done = await house.run()
    assert conditions(done["website"])["Delivering"] == ("True", "Proven")
    house.redis.hset(feedback, mapping={"refused": 2000, "refused:reason": "stale"})
    done = await house.run()
    assert conditions(done["website"])["Delivering"] == ("False", "SecretRefused")
    house.simulator.world.instance.auto_disabling = True
    hook.recent_failures = 40
    done = await house.run()
    assert conditions(done["website"])["Delivering"] == ("False", "HookDisabled")
    assert conditions(done["website"])["Reconciling"] == ("True", "HookDisabled")


async def test_removed_means_gone(house):
    await house.run()
    house.projects = {}
    await house.run()
    assert house.hooks() == []
    assert house.routes() == {}
    assert "website" not in house.state.read_text()


async def test_removal_waits_for_gitlab(house):
    await house.run()
    house.projects = {}
    house.simulator.world.faults.append(Fault(path="*/hooks*", status=502))
    await house.run()
    assert len(house.hooks()) == 1
    await house.run()
    assert house.hooks() == []


async def test_removal_waits_no_longer_than_it_may_for_a_gitlab_that_asks_for_patience(house):
    await house.run()
    house.simulator.world.faults.append(Fault(path="/api/v4/projects/*/hooks", status=429, count=-1, retry_after=3600))
    async with Living.begun(house) as life:
        leaving = replace(life.resource(), deleted_at=life.world.clock())
        life.later += timedelta(seconds=500)
        with pytest.raises(RateLimited) as caught:
            await life._runner.clean_up(leaving)
        assert 95 < caught.value.retry_after <= 100


async def test_removal_takes_no_foreign_hook_and_ends_without_a_project(house):
    await house.run()
    del house.simulator.world.projects[house.simulator.website.id]
    house.projects = {}
    await house.run()
    assert house.routes() == {}
    assert "website" not in house.state.read_text()


async def test_an_orphan_stays(house):
    house.change(deletionPolicy="Orphan")
    await house.run()
    house.projects = {}
    await house.run()
    assert len(house.hooks()) == 1
    assert house.routes() == {}
