# SPDX-License-Identifier: Apache-2.0
"""The reference of the commands, in Markdown, from the help text of each."""

import inspect
from collections.abc import Iterator

import click

_HEAD = """\
# Commands
Written by `shape-proxy reference-cli`; a test keeps it equal.

Settings come from the environment; `.env.example` lists them. Exit codes: 0, all is well; 1, the command found what it
looks for (a policy that does not load, a difference, a refusal, a row that two tokens share); 2, it was used wrongly or
could not run, with a line for each reason on standard error."""


def reference(group: click.Group) -> str:
    """The text of docs/reference/cli.md."""
    return "\n".join([_HEAD, *(line for name, command in _commands(group) for line in _section(name, command)), ""])


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """The commands that are shown, a group before what is in it."""
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        yield before + name, command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")


def _section(name: str, command: click.Command) -> Iterator[str]:
    arguments = [_argument(each) for each in command.params if isinstance(each, click.Argument)]
    options = [each for each in command.params if isinstance(each, click.Option)]
    kinds = ["COMMAND"] if isinstance(command, click.Group) else (["[OPTIONS]"] if options else [])
    yield from ("", f"## {name}", "```", " ".join(["shape-proxy", name, *kinds, *arguments]), "```")
    yield inspect.cleandoc(command.help or "")
    if options:
        yield from ("", "| option | default | what it does |", "|---|---|---|", *map(_row, options))


def _argument(argument: click.Argument) -> str:
    shown = argument.make_metavar(click.Context(click.Command("")))
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _row(option: click.Option) -> str:
    context = click.Context(click.Command(""))
    names = ", ".join(f"`{name}`" for name in option.opts)
    value = "" if option.is_flag else f" {option.make_metavar(context)}".replace("|", "\\|")
    default = f"`{option.default}`" if option.show_default or _is_chosen(option) else ""
    return f"| {names}{value} | {default} | {option.help} |"


def _is_chosen(option: click.Option) -> bool:
    """Whether it is a choice that has a default."""
    return isinstance(option.type, click.Choice) and isinstance(option.default, str)
