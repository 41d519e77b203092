"""Results as tables, JSON and YAML: one way for every command."""

from __future__ import annotations

from collections.abc import Iterator

import typer.main
import yaml
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from gitpulse_cli import output
from gitpulse_cli.main import app

QUIET = {
    *("sim", "receiver", "worker", "operator", "up", "migrate", "recompute"),
    *("secret generate", "tokens create"),  # a secret alone, for a file or a variable
    *("hooks rotate", "hooks revive", "deadletters retry", "deadletters drop"),
    *("teams apply", "people forget", "people sign-out", "tokens revoke"),
}
"""Commands that find nothing: they do something, and tell people how it went."""


def commands(group: TyperGroup, path: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path}{name} ")
        else:
            assert isinstance(command, TyperCommand)
            yield f"{path}{name}", command


def test_every_command_that_finds_something_prints_it_in_all_formats():
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    without = {name for name, it in commands(root) if not any("--output" in p.opts for p in it.params)}
    assert without <= QUIET


def test_a_table_in_a_pipe_is_complete_and_has_no_colours(capsys):
    row = {"long_name": "x" * 300, "none": None, "yes": True, "many": ["a", "b"], "lastSeen": {"a_b": 1}}
    output.show([row], output.Format.TABLE)
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["long", "name", "none", "yes", "many", "last", "seen"]
    assert line.split() == ["x" * 300, "yes", "a,", "b", "a", "b", "1"]
    assert line == line.rstrip()


def test_a_terminal_gets_colours_and_nothing_is_cut_off(capsys, monkeypatch):
    def console(**how):
        return Console(**{**how, "width": 40}, force_terminal=True, color_system="standard")

    monkeypatch.setattr(output, "Console", console)
    output.show([{"a": "x" * 100, "b": "[bold]y"}], output.Format.TABLE)
    out = capsys.readouterr().out
    assert "\x1b[1m" in out
    assert out.count("x") == 100
    assert "[bold]y" in out


def test_nothing_is_an_empty_list_or_an_empty_table(capsys):
    for form, expected in ((output.Format.JSON, "[]\n"), (output.Format.YAML, "[]\n"), (output.Format.TABLE, "")):
        output.show([], form)
        assert capsys.readouterr().out == expected


def test_yaml_keeps_order_and_letters(capsys):
    output.dump({"z": "Zoë", "a": None}, output.Format.YAML)
    out = capsys.readouterr().out
    assert out == "z: Zoë\na: null\n"
    assert yaml.safe_load(out) == {"z": "Zoë", "a": None}
