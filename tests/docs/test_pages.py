"""What our pages show is run, or held against what it is for; a block that nobody takes in hand fails.

`harness.pages` tells what a comment before a block can say. Without one, by language:

- `sh` and `console` are typed, page by page from top to bottom, in a place where all of GitPulse runs
  (`harness.hamlet`); each command must succeed, and show what the page shows;
- `yaml` is given to who takes such: the API server, Helm with the chart, GitLab's schema of pipelines;
- `json` and `python` are read; `promql` is the runbooks' (`tests/chart/test_alerts.py`);
- `text`, `mermaid` and what has no language are for reading.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.chart import render
from harness.gitlab_ci import validate
from harness.hamlet import Hamlet, clone_of, hamlet
from harness.pages import ROOT, Block, Command, alike, blocks, commands, is_whole, pages
from harness.processes import free_port, wait_until
from harness.simulator import running_simulator

BLOCKS = [block for page in pages() for block in blocks(page, (ROOT / page).read_text())]
TYPED = ("sh", "console")
READ = ("text", "mermaid", "", "mailmap")
ELSEWHERE = {"promql": "tests/chart/test_alerts.py"}
DEMO = ("docs/tutorial.md", "make demo")
"""Typed in a terminal of its own: it does not end."""
HTTP_ERROR = 22
"""What curl says, as ours is told to, of an answer from 400 on."""
NOT_FOUND = 1
"""What grep says when nothing matches, which is what one hopes for where one looks for errors."""
NOTHING = "No resources found in gitpulse-system namespace."


def of(*languages: str, claim: str = "") -> list[Block]:
    return [it for it in BLOCKS if it.language in languages and it.claim == claim]


def each(*languages: str, claim: str = ""):
    return pytest.mark.parametrize("block", of(*languages, claim=claim), ids=lambda it: it.place)


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(own_control_plane, tmp_path_factory) -> Iterator[Hamlet]:
    with running_simulator() as gitlab, hamlet(own_control_plane, gitlab, tmp_path_factory.mktemp("hamlet")) as made:
        yield made


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", sorted({it.page for it in of(*TYPED)}))
def test_what_one_types_works(place, page, tmp_path):
    mine = [it for it in of(*TYPED) if it.page == page]
    text = "".join(it.text for it in mine)
    ports, environment = place.ports, dict(place.environment)
    if re.search(r"gitpulse (receiver &|up )", text):  # a page that starts its own
        ports["8080"] = str(free_port())
        environment = {"GITPULSE_REDIS_URL": place.redis_url.removesuffix("/0") + "/1"}
    if "gitpulse sim" in text:
        ports["8929"] = str(free_port())
    clone = clone_of(tmp_path, f"http://127.0.0.1:{ports['8929']}")
    with place.shell(clone, **environment, **place.at_hand, DOCS_PORT=ports["8080"]) as shell:
        for block in mine:
            for command in commands(block):
                if (block.page, command.text) == DEMO:
                    ports |= demo(shell)
                else:
                    run(shell, block, command, ports)
    if " delete " in text:
        place.apply_examples()


def demo(shell) -> dict[str, str]:
    """Runs it beside, as in a terminal of its own, until it says where to look; returns the ports that it has got."""
    log = shell.folder / "demo.log"
    shell.run(f'(cd "$DOCS_ROOT" && exec gitpulse demo --days 3) >{log} 2>&1 &')  # with the examples as they are
    wait_until(lambda: log.exists() and "/metrics" in log.read_text(), timeout=200, what="the demo")
    told = dict(re.findall(r"the (dashboard|simulated GitLab) +http://127\.0\.0\.1:(\d+)/", log.read_text()))
    return {"8929": told["simulated GitLab"], "8080": told["dashboard"]}


def run(shell, block: Block, command: Command, ports) -> None:
    code, output = shell.run(translated(command.text, ports))
    if code == HTTP_ERROR and re.match("HTTP/1.1 [45]", command.shown or ""):
        code, output = 0, re.sub(r"^curl: .*\n", "", output)  # as the page has it
    for shown, port in ports.items():
        output = output.replace(port, shown)
    missed = code == NOT_FOUND and "| grep " in command.text and output.strip() in ("", NOTHING)
    assert code == 0 or missed, f"{block.place}: {command.text}\nexit code {code}\n{output}"
    if command.shown is not None:
        shown = translated(command.shown, {})
        assert alike(shown, output), f"{block.place}: {command.text}\nshows\n{output}\nand not\n{command.shown}"


def translated(text: str, ports) -> str:
    """With the addresses of this place for those in our pages."""
    text = text.replace("https://gitpulse.example.com", "http://127.0.0.1:8080")
    text = text.replace("https://gitlab.example.com", "http://127.0.0.1:8929")
    for shown, port in ports.items():
        text = text.replace(shown, port)
    return text


@each(*TYPED, claim="not")
def test_what_cannot_be_run_here_is_at_least_a_command(block):
    assert len(block.reason) > len("no"), f"{block.place}: why?"
    assert is_whole("\n".join(it.text for it in commands(block)))


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.cluster
@each("yaml")
def test_a_yaml_block_is_taken_by_whom_it_is_for(block, own_control_plane):
    documents = [it for it in yaml.safe_load_all(block.text) if it]
    assert documents
    if all("apiVersion" in it for it in documents):
        done = own_control_plane.try_kubectl(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=block.text
        )
        assert done.returncode == 0, done.stderr
    elif any(it.keys() & {"include", "stages"} for it in documents):
        assert validate(block.text) == ""
    else:
        assert [render(it) for it in documents]  # the chart's schema refuses values that it does not know


@pytest.mark.parametrize("block", [it for it in BLOCKS if it.claim == "in"], ids=lambda it: it.place)
def test_a_part_of_a_file_stands_in_it(block):
    there = [line.strip() for line in (ROOT / block.reason).read_text().splitlines()]
    wanted = [line.strip() for line in block.text.splitlines()]
    assert any(there[at : at + len(wanted)] == wanted for at in range(len(there))), f"{block.place}: {block.reason}"


@each("json", "python")
def test_a_block_of_a_language_is_of_that_language(block):
    if block.language == "json":
        json.loads(block.text)
    else:
        compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


# --- that nothing is left out ----------------------------------------------------------------------------------------


def test_every_block_is_taken_in_hand():
    ours = {*TYPED, *READ, *ELSEWHERE, "yaml", "json", "python"}
    assert [it.place for it in BLOCKS if not it.claim and it.language not in ours] == []


def test_whoever_is_said_to_run_a_page_knows_of_it():
    for block in (it for it in BLOCKS if it.claim == "by"):
        assert Path(block.page).name in (ROOT / block.reason).read_text(), block.place
    for block in (it for it in BLOCKS if it.language in ELSEWHERE):
        assert block.page.startswith("docs/runbooks/"), block.place


def test_a_comment_that_says_nothing_we_know_is_refused():
    with pytest.raises(ValueError, match="what does this say"):
        list(blocks("a.md", "<!-- test: maybe -->\n```sh\ntrue\n```\n"))
    with pytest.raises(ValueError, match="no block behind `not now`"):
        list(blocks("a.md", "<!-- test: not now -->\nText.\n"))


def test_outputs_are_compared_loosely_and_yet_compared():
    assert alike("a … c\n…", "a  b\n c\nand more")
    assert alike("commits 3", "commits    3\n")
    assert not alike("commits 3", "commits 4")
    assert not alike("a … c", "a b")
