"""What every command is made of: lazy groups, translated help with examples, global flags on both sides of the verb."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import click

from dojang.cli.flags import flag_options
from dojang.cli.language import N_, _

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Resolved: TypeAlias = tuple[str | None, click.Command | None, list[str]]


class Entry(NamedTuple):
    """One row of the command table: where the command is (``module:function``) and its line in the group's help."""

    target: str
    help: str


class Section(NamedTuple):
    """A group of commands: its line of help and its rows."""

    help: str
    entries: Mapping[str, "Entry | Section"]


class Option(click.Option):
    """An option whose help is translated when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        english, self.help = self.help, _(self.help or "")
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = english


class Argument(click.Argument):
    """An argument whose help is translated when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        english, self.help = self.help, _(self.help or "")
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = english


option = partial(click.option, cls=Option)
argument = partial(click.argument, cls=Argument)


class FilePath(click.ParamType[Path]):
    """A file's name; whether it is there is found out by who opens it. (click's asks gettext when it is made.)"""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class Command(click.Command):
    """A verb; its function is called with the ``Invocation`` first and returns an exit status or nothing."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), path: str = "", **named: Any) -> None:
        """``path`` is what the user typed after ``dojang``, canonical; it names the command in the JSON envelope."""
        super().__init__(*arguments, **named)
        self.examples = tuple(examples)
        self.path = path

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *flag_options(hidden=True)]

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return _help_option()

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj.command = self.path
        assert self.callback is not None
        seconds = ctx.obj.flags.timeout
        if seconds is None:
            return self.callback(ctx.obj, **ctx.params)
        from dojang.cli.deadline import kept

        with kept(ctx.obj, seconds):
            return self.callback(ctx.obj, **ctx.params)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _paragraphs(formatter, _(self.help or ""))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Examples")):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        formatter.write_paragraph()
        formatter.write_text(_("The global flags of 'dojang --help' work here too."))


class LazyGroup(click.Group):
    """A group that knows names and one line of help for its commands, and imports a command only to run it."""

    def __init__(
        self, name: str, section: Section, *, path: str = "", aliases: Mapping[str, str] | None = None
    ) -> None:
        """``aliases`` maps further names to command paths from here (``발급`` to ``cert issue``)."""
        params = [] if path else [_version_option()]
        super().__init__(name, no_args_is_help=True, subcommand_metavar="COMMAND …", params=params)
        self.section = section
        self.path = path
        self.aliases = aliases or {}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *flag_options(hidden=bool(self.path))]

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return _help_option()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.section.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.aliases:
            return self._follow(ctx, self.aliases[cmd_name].split())
        entry = self.section.entries.get(cmd_name)
        path = f"{self.path} {cmd_name}".strip()
        if isinstance(entry, Section):
            return LazyGroup(cmd_name, entry, path=path)
        return _load(entry, cmd_name, path) if entry else None

    def _follow(self, ctx: click.Context, words: Iterable[str]) -> click.Command | None:
        found: click.Command | None = self
        for word in words:
            found = cast(click.Group, found).get_command(ctx, word)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        names = [*self.section.entries, *self.aliases]
        if args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.NoSuchCommand(args[0], possibilities=names, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _paragraphs(formatter, _(self.section.help))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(entry.help)) for name, entry in self.section.entries.items()])
        if self.aliases:
            with formatter.section(_("The same in Korean")):
                formatter.write_dl(list(self.aliases.items()))
        if not self.path:
            text = _("SRC is prompt, env:NAME, file:PATH, fd:N, cmd:COMMAND, pinpad or keyring:NAME.")
            formatter.write_paragraph()
            formatter.write_text(text)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        names = {**{name: _(entry.help) for name, entry in self.section.entries.items()}, **self.aliases}
        items = [CompletionItem(name, help=text) for name, text in names.items() if name.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


def command(*, help: str, examples: Sequence[str]) -> Callable[[Callable[..., Any]], Command]:  # noqa: A002 - click's word
    """Make a function a command. ``help`` is marked with ``N_``; ``examples`` are whole command lines."""
    return click.command(cls=Command, help=help, examples=examples)


def _load(entry: Entry, name: str, path: str) -> Command:
    module, _colon, function = entry.target.partition(":")
    loaded: Command = getattr(import_module(module), function)
    loaded.name, loaded.path = name, path
    return loaded


@cache
def _help_option() -> click.Option:
    """click's own asks gettext when it is made, which loads ``locale`` at every start."""
    text = N_("Show this message and exit.")
    return Option(["--help"], is_flag=True, is_eager=True, expose_value=False, callback=_show_help, help=text)


def _show_help(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        sys.stdout.write(ctx.get_help() + "\n")
        ctx.exit()


def _version_option() -> click.Option:
    """``--version`` among other flags; alone it never gets here (see ``__main__``)."""
    return Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help=N_("Show the version.")
    )


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from dojang import __version__

        ctx.obj.result({"version": __version__}, f"dojang {__version__}", quiet=[__version__])
        ctx.exit()


def _paragraphs(formatter: click.HelpFormatter, text: str) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(text)
