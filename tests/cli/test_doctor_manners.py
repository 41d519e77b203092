"""How `gitpulse doctor` looks: what it leaves alone, hooks made by hand, groups, what it prints, its exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request

import pytest
import yaml
from typer.testing import CliRunner

from gitpulse_cli.doctor import causes as catalogue
from gitpulse_cli.doctor.delivery import told_by_gitlab
from gitpulse_cli.doctor.finding import Status
from gitpulse_cli.main import app
from gitpulse_service.contract import WEBHOOK_PATH
from gitpulse_sim.faults import Fault
from harness.controlplane import ROOT
from harness.patient import causes, proxy, tls_front
from harness.pki import Authority
from harness.postgres import postgres_server
from harness.processes import free_port


def evidence(rows, check):
    (found,) = [row["evidence"] for row in rows if row["check"] == check]
    return found


# --- what it leaves alone ---------------------------------------------------------------------------------------------


def test_it_changes_nothing_in_gitlab_but_the_log(patient):
    patient.well()
    before = repr(patient.hook)
    sent = patient.simulator.forge.engine.sent
    assert patient.examine()[0] == 0
    assert (repr(patient.hook), patient.simulator.forge.engine.sent) == (before, sent + 1)
    assert patient.examine("--no-test")[0] == 0
    assert (repr(patient.hook), patient.simulator.forge.engine.sent) == (before, sent + 1)


def test_a_hook_that_is_off_stays_so_for_the_operator_to_note_what_was_missed(patient):
    patient.well()
    patient.simulator.world.instance.auto_disabling, patient.hook.recent_failures = True, 40
    code, rows = patient.examine()
    assert (code, causes(rows), patient.hook.recent_failures) == (1, ["HookDisabled"], 40)


def test_a_database_that_is_not_there_is_not_made(patient, tmp_path):
    patient.well()
    patient.environment["GITPULSE_DATABASE_URL"] = f"sqlite:///{tmp_path / 'none.db'}"
    code, rows = patient.examine()
    assert (code, causes(rows), (tmp_path / "none.db").exists()) == (1, ["DatabaseNotMigrated"], False)


def test_postgresql_with_the_tables_of_this_version(patient):
    patient.well()
    url, _ = patient.stack.enter_context(postgres_server())
    patient.environment["GITPULSE_DATABASE_URL"] = url
    assert causes(patient.examine()[1]) == ["DatabaseNotMigrated"]
    assert CliRunner().invoke(app, ["migrate"], env=patient.environment).exit_code == 0
    assert patient.examine()[0] == 0


def test_the_hooks_of_others_are_no_business_of_ours(patient):
    patient.well()
    patient.simulator.world.add_hook(patient.simulator.website, "https://chat.example.com/gitlab")
    patient.simulator.world.add_hook(patient.simulator.website.group, "https://chat.example.com/gitlab")
    assert patient.examine()[0] == 0


def test_the_folder_and_its_state_stay_as_they_are(patient):
    patient.well()
    files = [patient.house.state, *patient.house.manifests.glob("*.yaml")]
    before = [file.read_bytes() for file in files]
    patient.examine()
    assert [file.read_bytes() for file in files] == before


def test_what_is_suspended_is_left_alone(patient):
    patient.well()
    patient.house.change(suspend=True)
    patient.operate()
    patient.simulator.website.hooks.clear()
    code, rows = patient.examine()
    assert (code, causes(rows)) == (0, [])
    assert "suspended" in evidence(rows, "hook")


# --- without a test delivery ------------------------------------------------------------------------------------------


def test_a_refused_secret_is_known_from_what_receivers_note(patient):
    patient.well()
    patient.hook.signing_token = f"whsec_{'A' * 43}="
    patient.simulator.push()
    code, rows = patient.examine("--no-test")
    assert (code, causes(rows)) == (1, ["SecretRefused"])
    assert "wrong_signature" in evidence(rows, "delivery")


@pytest.mark.parametrize(
    ("status", "cause"), [(401, "ProxyRefuses"), (404, "PathNotReceivers"), (502, "ProxyWithoutReceiver")]
)
def test_what_is_in_front_is_known_from_gitlabs_log(patient, status, cause):
    port = patient.stack.enter_context(proxy(lambda method, *_: 405 if method == "GET" else status))
    patient.house.public_url = f"http://127.0.0.1:{port}"
    patient.well()
    code, rows = patient.examine("--no-test")
    assert (code, causes(rows)) == (1, [cause])


def test_a_clock_that_was_off_is_known_from_what_receivers_note(patient):
    patient.well()
    patient.simulator.world.instance.signature_clock_skew = -900
    patient.simulator.push()
    patient.simulator.world.instance.signature_clock_skew = 0
    code, rows = patient.examine("--no-test")
    assert (code, causes(rows)) == (1, ["ClockOff"])
    assert "stale_timestamp" in evidence(rows, "delivery")
    assert patient.examine()[0] == 0, "a test that is taken says that it is over"


@pytest.mark.parametrize(("skew", "found"), [(-900, ["ClockOff"]), (900, ["ClockOff"]), (200, [])])
def test_clocks_are_compared_before_anything_is_refused(patient, skew, found):
    patient.house.change(secret={"type": "Token"})  # which goes by no clock
    patient.well()
    patient.simulator.world.instance.signature_clock_skew = skew
    _, rows = patient.examine()
    assert causes(rows) == found
    off = re.search(r"clock is (\d+) s (ahead of|behind)", evidence(rows, "clock"))
    assert off
    assert abs(int(off[1]) - abs(skew)) < 5
    assert off[2] == ("ahead of" if skew > 0 else "behind")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("URL is blocked: Host cannot be resolved or invalid", "NameNotResolvedByGitLab"),
        ("URL is blocked: Requests to the local network are not allowed", "OutboundRequestsBlocked"),
        ("URL 'http://10.0.0.1/' is blocked: Requests to the local network are not allowed", "OutboundRequestsBlocked"),
        ("Failed to open TCP connection to a:443 (getaddrinfo: Name or service not known)", "NameNotResolvedByGitLab"),
        ("Failed to open TCP connection to a.io:443 (Connection refused - connect(2) for …)", "UnreachableFromGitLab"),
        ("SSL_connect returned=1 errno=0 state=error: certificate verify failed", "CertificateUntrustedByGitLab"),
        ("execution expired", "UnreachableFromGitLab"),
        ("Net::ReadTimeout with #<TCPSocket:(closed)>", "UnreachableFromGitLab"),
        ("end of file reached", "UnreachableFromGitLab"),
        ("Silent mode enabled", "GitLabSilentMode"),
    ],
)  # fmt: skip
def test_gitlabs_words_where_it_gets_no_answer(said, cause):
    told = told_by_gitlab(said)
    assert told
    assert told.id == cause


def test_an_answer_in_others_words_is_none_of_gitlabs():
    assert told_by_gitlab("<html>404 Not Found</html>") is None


# --- what this machine sees, and GitLab does not ----------------------------------------------------------------------


def test_where_gitlab_delivers_it_does_not_matter_what_this_machine_sees(patient):
    def passes_deliveries(method, body, headers):
        if method == "GET":
            return 404
        request = urllib.request.Request(f"http://127.0.0.1:{patient.port}{path()}", body, headers)
        with contextlib.closing(urllib.request.urlopen(request)) as answer:
            return answer.status

    def path():
        return WEBHOOK_PATH + "/" + patient.hook.url.rpartition("/")[2]

    port = patient.stack.enter_context(proxy(passes_deliveries))
    patient.house.public_url = f"http://127.0.0.1:{port}"
    patient.well()
    code, rows = patient.examine()
    assert (code, causes(rows)) == (0, []), rows
    assert "GitLab delivers there; this machine does not reach it" in evidence(rows, "receiver")
    assert causes(patient.examine("--no-test")[1]) == ["PathNotReceivers"]
    patient.simulator.world.instance.auto_disabling, patient.hook.recent_failures = True, 40
    assert causes(patient.examine()[1]) == ["PathNotReceivers"]
    assert patient.hook.recent_failures == 40, "it was tested, and so revived"


def test_a_certificate_that_the_hook_does_not_look_at_is_no_fault(patient, tmp_path):
    pair = Authority(tmp_path).server("front")
    port = patient.stack.enter_context(tls_front(patient.simulator.loop, pair, patient.port))
    patient.house.public_url = f"https://localhost:{port}"
    patient.house.change(sslVerification=False)
    patient.well()
    assert patient.examine("--no-test")[0] == 0


# --- made by hand -----------------------------------------------------------------------------------------------------


def test_of_a_healthy_hook_made_by_hand_nothing_is_said(patient):
    patient.by_hand()
    code, rows = patient.examine()
    assert (code, {row["status"] for row in rows}) == (0, {"ok"}), rows
    assert [row["subject"] for row in rows if row["check"] == "delivery"] == ["acme/website"]


def test_a_secret_by_hand_that_differs(patient):
    patient.by_hand().token = "another"
    code, rows = patient.examine("acme/website")
    assert (code, causes(rows)) == (1, ["SecretRefused"])


def test_a_hook_by_hand_that_nobody_made(patient):
    patient.by_hand()
    patient.simulator.website.hooks.clear()
    code, rows = patient.examine()
    assert (code, causes(rows)) == (1, ["HookMissing"])


def test_of_two_projects_by_hand_the_one_without_a_hook_is_named(patient):
    patient.by_hand()
    code, rows = patient.examine("acme/website", "acme/api")
    assert (code, causes(rows)) == (1, ["HookMissing"])
    assert "no hook of acme/api has a URL" in evidence(rows, "hook")


def test_two_hooks_by_hand(patient):
    patient.by_hand()
    patient.make_hook()
    assert causes(patient.examine()[1]) == ["HooksOverlap"]


def test_a_token_by_hand_that_may_read_is_enough_for_all_but_a_test(patient):
    patient.by_hand()
    patient.simulator.world.tokens[patient.simulator.token].scopes = ("read_api",)
    assert patient.examine("--no-test")[0] == 0
    code, rows = patient.examine()
    assert (code, causes(rows)) == (1, ["TokenScopeMissing"])


def test_without_a_gitlab_to_ask_the_rest_is_looked_at(patient):
    patient.by_hand(receive=False)
    del patient.environment["GITPULSE_GITLAB_TOKEN"]
    code, rows = patient.examine()
    assert (code, causes(rows)) == (1, ["NothingListens"])
    assert "GITPULSE_GITLAB_TOKEN are not set here" in evidence(rows, "gitlab")
    patient.arguments.clear()
    code, rows = patient.examine()
    assert (code, causes(rows)) == (0, [])
    assert "--url" in evidence(rows, "receiver")


# --- groups -----------------------------------------------------------------------------------------------------------


def test_each_project_of_a_group_is_looked_at_where_each_has_its_hook(patient):
    patient.simulator.world.instance.tier = "free"
    patient.house.projects = {"acme": patient.house.project(group="acme")}
    patient.well()
    code, rows = patient.examine()
    assert (code, causes(rows)) == (0, []), rows
    delivered = [row["subject"] for row in rows if row["check"] == "delivery"]
    assert delivered == ["default/acme in acme/website", "default/acme in acme/api"]

    patient.simulator.api.hooks.clear()
    code, rows = patient.examine()
    assert (code, causes(rows)) == (1, ["HookMissing"])
    assert "acme/api" in evidence(rows, "hook")


def test_of_two_resources_only_the_named_one_is_looked_at(patient):
    patient.house.projects["api"] = patient.house.project(project="acme/api")
    patient.well()
    patient.simulator.api.hooks.clear()
    assert causes(patient.examine("api")[1]) == ["HookMissing"]
    assert patient.examine("default/website")[0] == 0


def test_a_wrong_name_beside_a_right_one_is_told(patient):
    patient.well()
    code, rows = patient.examine("website", "webside")
    assert (code, causes(rows)) == (1, ["NoResources"])
    assert evidence(rows, "operator") == "there is no GitPulseProject webside"


def test_of_a_namespace_its_resources_alone_are_looked_at(patient):
    patient.house.projects["api"] = patient.house.project(project="acme/api")
    patient.well()
    assert patient.examine("-n", "default")[0] == 0
    code, rows = patient.examine("-n", "other")
    assert (code, causes(rows)) == (1, ["NoResources"])


# --- of which cluster -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "says"),
    [("there", "https://127.0.0.1:1: the Kubernetes API cannot be reached"), ("nowhere", "nowhere")],
)
def test_a_cluster_is_that_of_the_context_with_the_operators_settings(gitpulse, tmp_path, context, says):
    config = tmp_path / "config"
    config.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("here", "there")],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    code, out, err = gitpulse("doctor", "--context", context, KUBECONFIG=str(config))
    assert (code, out) == (2, "")
    assert "GITPULSE_PUBLIC_URL: is not set" in err
    settings = {"GITPULSE_PUBLIC_URL": "https://a.example", "GITPULSE_INSTALLATION_KEY": "A" * 43 + "="}
    code, out, err = gitpulse("doctor", "--context", context, KUBECONFIG=str(config), **settings)
    assert (code, out, says in err) == (2, "", True), err


# --- what it prints ---------------------------------------------------------------------------------------------------


def test_a_person_reads_each_cause_once_with_its_cure(patient):
    patient.house.projects["api"] = patient.house.project(project="acme/api")
    patient.well()
    patient.simulator.world.instance.outbound_filter = True
    said = patient.say().stdout
    cause = catalogue.OUTBOUND_BLOCKED
    assert said.count(cause.says) == said.count(cause.cure) == 1
    assert said.count("Requests to localhost are not allowed") == 2
    assert f"docs/runbooks/{cause.runbook}.md" in said


def test_yaml_is_what_json_is(patient):
    patient.well().close()
    said = [read(patient.say("-o", name).stdout) for name, read in (("yaml", yaml.safe_load), ("json", json.loads))]
    for rows in said:
        for row in rows:
            row["evidence"] = type(row["evidence"])  # it tells for how long something waits
    assert said[0] == said[1]


def test_what_could_not_be_looked_at_has_a_code_of_its_own(patient):
    patient.well()
    patient.simulator.world.faults.append(Fault(path="*/hooks", status=429, count=-1))
    code, rows = patient.examine()
    assert (code, causes(rows)) == (2, [])
    assert "GitLab asks for fewer requests" in evidence(rows, "hook")
    assert "nothing is wrong, as far as could be looked at" in patient.say().stdout


def test_without_resources_and_without_kubernetes_it_says_what_it_wants(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GITPULSE_", "GITLAB_"))}
    environment |= {"KUBECONFIG": str(tmp_path / "none"), "GITPULSE_INSTALLATION_KEY": "A" * 43 + "="}
    environment["GITPULSE_PUBLIC_URL"] = f"http://127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "gitpulse_cli", "doctor"]
    done = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no kubeconfig" in done.stderr


@pytest.mark.parametrize(
    ("missing", "checks"),
    [
        (("sqlalchemy", "alembic", "asyncpg", "arq", "fastapi", "limits", "isal", "aiohttp"), {"database", "worker"}),
        (("kubernetes", "kopf", "gitlab"), {"gitlab", "receiver"}),
    ],
    ids=["operator", "worker"],
)
def test_what_an_image_has_no_library_for_is_passed_over(patient, missing, checks):
    """Each image has what its program needs, and no more."""
    patient.well()
    patient.arguments = ["-o", "json", *(patient.arguments if "kubernetes" not in missing else ())]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({missing}))
from gitpulse_cli.main import run
sys.argv = ["gitpulse", "doctor", *{patient.arguments}]
run()
"""
    environment = patient.environment | {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)}
    if "kubernetes" in missing:
        del environment["GITPULSE_PUBLIC_URL"]
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["check"] for row in rows if row["status"] == "skipped"} == checks


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_every_cause_has_a_name_of_its_own_a_cure_and_a_runbook_that_is_there():
    assert len({cause.id for cause in catalogue.ALL}) == len(catalogue.ALL) > 50
    for cause in catalogue.ALL:
        assert cause.says.endswith(".")
        assert cause.cure.endswith((".", "…"))
        assert cause.status in (Status.PROBLEM, Status.WARNING)
        assert not cause.runbook or (ROOT / f"docs/runbooks/{cause.runbook}.md").is_file()
