"""Completion in the shell as docs/cli.md has it, and as bash and zsh ask for it."""

from __future__ import annotations

import os
import subprocess

import pytest

from harness.processes import SCRIPTS

PATH = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}


def ask(argv: list[str], **environment: str) -> list[str]:
    done = subprocess.run(
        argv, env={**PATH, **environment}, check=True, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    return done.stdout.split()


def test_bash_completes_what_show_completion_gives_it():
    typed = 'COMP_WORDS=(gitpulse hooks r); COMP_CWORD=2; _gitpulse_completion gitpulse; echo "${COMPREPLY[@]}"'
    assert ask(["bash", "-c", f'eval "$(gitpulse --show-completion bash)"; {typed}']) == ["rotate", "revive"]


@pytest.mark.parametrize("typed", ["projects -o ", "hooks list --output "])
def test_values_are_completed(typed):
    words = {"COMP_WORDS": f"gitpulse {typed}", "COMP_CWORD": str(len(typed.split()) + 1)}
    assert ask(["gitpulse"], _GITPULSE_COMPLETE="complete_bash", **words) == ["table", "json", "yaml"]


def test_zsh_is_given_its_function_and_answered():
    assert "#compdef" in ask(["gitpulse"], _GITPULSE_COMPLETE="source_zsh")
    found = ask(["gitpulse"], _GITPULSE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="gitpulse hooks ro")
    assert '"rotate":"Ask' in " ".join(found)
