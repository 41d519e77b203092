"""What is asked for beside the files: seen by whoever reads the folder next, and kept for its owner alone."""

from __future__ import annotations

import stat

import pytest

from gitpulse_operator.adapters.manifests import FolderCluster, ManifestInvalid, state_of
from gitpulse_operator.names import PROJECT, ROTATE_REQUESTED
from gitpulse_operator.reconcile.resource import Ref, Resource

WEBSITE, API = (Ref(PROJECT, "default", name) for name in ("website", "api"))


@pytest.fixture
def folder(tmp_path):
    for ref in (WEBSITE, API):
        text = f"{{kind: {PROJECT}, metadata: {{name: {ref.name}, annotations: {{a: file, b: file}}}}, spec: {{}}}}"
        (tmp_path / f"{ref.name}.yaml").write_text(text)
    return tmp_path


def opened(folder):
    return FolderCluster([folder], state_of(folder))


async def annotations(folder, ref):
    body = await opened(folder).read(ref)
    assert body
    return Resource.from_body(body).annotations


async def test_what_is_asked_for_goes_before_what_the_file_says(folder):
    await opened(folder).annotate(WEBSITE, {"a": "asked", ROTATE_REQUESTED: "now"})
    await opened(folder).annotate(WEBSITE, {ROTATE_REQUESTED: "again"})
    assert await annotations(folder, WEBSITE) == {"a": "asked", "b": "file", ROTATE_REQUESTED: "again"}
    assert await annotations(folder, API) == {"a": "file", "b": "file"}


async def test_two_that_have_read_the_folder_before_lose_nothing_of_each_others(folder):
    one, other = opened(folder), opened(folder)
    await one.annotate(WEBSITE, {"a": "one"})
    await other.annotate(API, {"a": "other"})
    assert [(await annotations(folder, ref))["a"] for ref in (WEBSITE, API)] == ["one", "other"]


async def test_it_is_its_owners_alone_and_beside_the_state(folder):
    await opened(folder).annotate(WEBSITE, {"a": "asked"})
    (file,) = (folder / ".gitpulse").iterdir()
    assert file.name == "requests.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["state.json", "requests.json"])
def test_what_is_damaged_is_named(folder, name):
    (folder / ".gitpulse").mkdir()
    (folder / ".gitpulse" / name).write_text("{")
    with pytest.raises(ManifestInvalid, match=f"{name}: damaged; put a copy in its place"):
        opened(folder)


def test_the_state_of_one_file_is_beside_it(folder):
    assert state_of(folder) == state_of(folder / "api.yaml") == folder / ".gitpulse" / "state.json"


@pytest.mark.parametrize("damaged", ['"glpat-private', "glpat-private: x", "*glpat-private", "!glpat-private x"])
def test_what_is_no_yaml_is_told_without_the_secret_in_it(tmp_path, damaged):
    (tmp_path / "secret.yaml").write_text(f"kind: Secret\nstringData:\n  token: {damaged}\n")
    with pytest.raises(ManifestInvalid, match=r"secret.yaml: not YAML: line [34], column \d+: ") as caught:
        opened(tmp_path)
    assert "private" not in str(caught.value)
