"""`gitpulse projects` and `gitpulse hooks list` over files: what they show, and what they say of a wrong name."""

import asyncio

import pytest

from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.domain.fleet import pack, unpack
from gitpulse_operator.names import PROJECT
from gitpulse_operator.reconcile.resource import Resource
from harness.house import House


@pytest.fixture
def there(house: House):
    """One project is ready, another has a wrong target."""
    house.projects["lost"] = house.project(project="acme/nowhere")
    asyncio.run(house.run())
    return ("-f", str(house.manifests))


def test_projects_are_listed_with_why_they_are_not_ready(gitpulse, there):
    lost, website = gitpulse("projects", *there).table[1:]
    assert lost == ["default/lost", "acme/nowhere", "False", "Unknown", "0/1", "TargetNotFound"]
    assert website == ["default/website", "acme/website", "True", "Unknown", "1/1", "Stable", "Installed"]
    lost, website = gitpulse.json("projects", *there)
    assert (website["project"], website["installed"], website["rotation"]) == ("default/website", 1, "Stable")
    assert "acme/nowhere" in lost["message"]


def test_named_projects_alone(gitpulse, there):
    assert [row["project"] for row in gitpulse.json("projects", "website", *there)] == ["default/website"]
    assert [row["project"] for row in gitpulse.json("projects", "default/lost", "website", *there)] == [
        "default/lost",
        "default/website",
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("websit", "there is no GitPulseProject default/websit; did you mean default/website?"),
        ("other/website", "there is no GitPulseProject other/website; did you mean default/website?"),
        ("zzz", "there is no GitPulseProject default/zzz; there are default/lost, default/website"),
    ],
)
def test_a_wrong_name_lists_those_that_are_near(gitpulse, there, name, says):
    done = gitpulse("projects", name, *there)
    assert (done.code, done.out, done.err) == (2, "", f"gitpulse: {says}\n")


def test_a_namespace_leaves_out_the_others(gitpulse, there):
    done = gitpulse("projects", "-n", "other", *there)
    assert (done.code, done.out, done.err) == (0, "", "no GitPulseProjects\n")
    assert gitpulse.json("projects", "-n", "other", *there) == []
    assert len(gitpulse.json("projects", "-n", "default", *there)) == 2


def test_hooks_are_listed(gitpulse, there, house):
    lost, website = gitpulse.json("hooks", "list", *there)
    (hook,) = house.hooks()
    assert (website["resource"], website["target"], website["hook"]) == ("default/website", "acme/website", hook.id)
    assert (website["state"], website["delivering"], website["generation"]) == ("new", "NoDeliveryYet", 1)
    assert website["rotated_at"].endswith("Z")
    assert (lost["state"], lost["hook"]) == ("failing", None)
    assert gitpulse("hooks", "list", *there).table[2][:5] == [
        "default/website", "acme/website", str(hook.id), "new", "NoDeliveryYet"
    ]  # fmt: skip


def test_of_a_group_each_projects_hook_is_listed(gitpulse, house):
    house.simulator.world.instance.tier = "free"
    house.projects = {"acme": house.project(group="acme")}
    asyncio.run(house.run())
    rows = gitpulse.json("hooks", "list", "-f", house.manifests)
    assert [(row["resource"], row["target"], row["state"]) for row in rows] == [
        ("default/acme", "acme/api", "new"),
        ("default/acme", "acme/website", "new"),
    ]
    done = gitpulse("hooks", "show", "acme", "-f", house.manifests)
    assert done.code == 2
    assert "has 2 hooks; say of which project, --project: acme/api, acme/website" in done.err
    shown = gitpulse.json("hooks", "show", "acme", "--project", "acme/api", "-f", house.manifests)
    assert shown["hook"] == rows[0]["hook"]


def test_a_hook_on_its_way_out_is_not_listed(gitpulse, house):
    house.simulator.world.instance.tier = "free"
    house.projects = {"acme": house.project(group="acme")}
    asyncio.run(house.run())

    async def send_off_one():
        cluster = FolderCluster([house.manifests], house.state)
        (acme,) = [Resource.from_body(body) for body in await cluster.bodies(PROJECT)]
        members = unpack(await cluster.memory(acme) or b"")
        first = min(members)
        await cluster.remember(acme, pack({**members, first: (members[first][0], "2026-05-01T00:00:00Z")}))

    asyncio.run(send_off_one())
    assert [row["target"] for row in gitpulse.json("hooks", "list", "-f", house.manifests)] == ["acme/api"]


def test_no_cluster_is_said_with_what_to_do(gitpulse, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for command in (["projects"], ["status"], ["hooks", "list"], ["hooks", "revive", "website"]):
        done = gitpulse(*command)
        assert (done.code, done.out) == (1, "")
        assert "there is no kubeconfig" in done.err
        assert "-f DIR" in done.err
        assert done.err.count("\n") == 1


def test_files_that_are_not_resources_are_said_with_their_place(gitpulse, tmp_path):
    (tmp_path / "a.yaml").write_text("kind: [")
    done = gitpulse("status", "-f", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert f"{tmp_path / 'a.yaml'}: not YAML" in done.err


def test_settings_beside_files_are_read_as_a_shell_reads_them(gitpulse, tmp_path):
    (file := tmp_path / ".gitpulse" / "env").parent.mkdir()
    file.write_text("# isn't it so?\nGITPULSE_REDIS_URL='nonsense' # by hand\n")
    code, _, err = gitpulse("status", "-f", tmp_path)
    assert (code, "GITPULSE_REDIS_URL: must start with redis://" in err) == (2, True), err
    file.write_text("GITPULSE_REDIS_URL='nonsense\n")
    assert gitpulse("status", "-f", tmp_path) == (2, "", f"gitpulse: {file}: No closing quotation\n")


@pytest.mark.parametrize("option", ["--state", "--secrets"])
def test_what_goes_with_files_alone_is_refused_without_them(gitpulse, tmp_path, option):
    assert gitpulse("projects", option, tmp_path)[::2] == (
        2, "gitpulse: --state and --secrets go with -f, the resources in files\n",
    )  # fmt: skip
