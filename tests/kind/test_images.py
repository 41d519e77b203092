"""What people pull: nothing but what is locked, for a user without a name or a writable root, the same each time."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest

from harness.chart import ROOT
from harness.images import build, docker

pytestmark = [pytest.mark.kind, pytest.mark.timeout(300)]

LISTED = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"


@pytest.fixture(params=["operator", "service"])
def image(kind, request):
    """One of the two, as Docker describes it."""
    tag = getattr(kind.images, request.param)
    return {"part": request.param, "tag": tag, **json.loads(docker("image", "inspect", tag))[0]}


def run(image, *arguments, program="/opt/gitpulse/bin/gitpulse"):
    """On a root that cannot be written to, as a user whom nobody has heard of, without a network."""
    options = ["--rm", "--read-only", "--network=none", "--user=12345:12345", f"--entrypoint={program}"]
    return docker("run", *options, image["tag"], *arguments)


def test_it_runs_as_nobody_on_a_root_that_cannot_be_written_to(image):
    assert image["Config"]["User"] == "10001:10001"
    assert run(image, "--version") == f"gitpulse {image['tag'].rpartition(':')[2]}"
    assert image["part"].removesuffix("service") in run(image, *image["Config"]["Cmd"][:1], "--help")


def test_its_labels_say_what_it_is(image):
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == image["tag"].rpartition(":")[2]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert image["part"] in labels["org.opencontainers.image.title"]


def test_it_holds_what_is_locked_and_its_bill_of_materials_says_so(image):
    locked = (ROOT / "locks" / f"{image['part']}.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9.-]+)(?:\[.*?])?==([^ ;]+)", locked, re.MULTILINE))
    there = {(name.lower().replace("_", "-"), version) for name, version in json.loads(
        run(image, "-c", LISTED, program="/opt/gitpulse/bin/python"))}  # fmt: skip
    ours = {("gitpulse", image["tag"].rpartition(":")[2])}
    assert ours < there
    assert there - ours <= pinned, "nothing else, and no pip"
    bill = json.loads(run(image, "/opt/gitpulse/sbom.cdx.json", program="cat"))
    assert {(it["name"].lower().replace("_", "-"), it["version"]) for it in bill["components"]} == there


def test_its_size_is_the_one_that_is_told(image):
    told = re.search(rf"`{image['part']}` is (\d+) MB", (ROOT / "docs/install.md").read_text())
    history = docker("history", "--human=false", "--format={{.Size}} {{.CreatedBy}}", image["tag"]).splitlines()
    layer = next(int(line.split()[0]) for line in history if "COPY" in line)  # the newest comes first
    assert int(told[1]) == pytest.approx(layer / 1e6, rel=0.15)


def test_the_same_sources_give_the_same_files(kind, tmp_path):
    first = kind.images.service
    again = build("service", Path("service/Dockerfile"), "gitpulse-test/again:1", None, "--no-cache", "--network=none")
    assert files(first, tmp_path / "first.tar") == files(again, tmp_path / "again.tar")


def files(tag, archive):
    """Path -> all that a layer says of it, of the topmost layer. The two folders above are Docker's own doing."""
    docker("save", tag, "-o", archive)
    with tarfile.open(archive) as image:
        top = json.load(image.extractfile("manifest.json"))[0]["Layers"][-1]
        with tarfile.open(fileobj=image.extractfile(top)) as layer:
            return {
                it.name: (it.mode, it.uid, it.gid, it.mtime, it.linkname,
                          hashlib.sha256(layer.extractfile(it).read()).hexdigest() if it.isfile() else "")
                for it in layer if it.name not in ("opt", "opt/gitpulse")
            }  # fmt: skip
