"""What can go wrong in a command."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what to do."""


class WrongInput(CommandError):
    """What a command was given cannot be used; exit code 2, as for any wrong argument."""
