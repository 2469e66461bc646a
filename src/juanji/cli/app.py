"""All commands under one name: the options common to them, and the one line that an error becomes."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from juanji import __version__, messages
from juanji.cli import bench, explaining, filtering, info, looking, matching, operators, predicting, sliding, training
from juanji.cli.talk import talk
from juanji.errors import ArgumentError, JuanjiError
from juanji.messages import say

COMMANDS = (filtering, matching, explaining, operators, sliding, training, predicting, looking, info, bench)  # as the help lists them


class Language(StrEnum):
    EN = "en"
    ZH = "zh"


INTERRUPTED = 130  # the shells' status for Ctrl-C, which Typer gives too

app = typer.Typer(add_completion=False, no_args_is_help=True, help=say("app"), rich_markup_mode="rich")
for module in COMMANDS:
    app.add_typer(module.app)


def _version(asked: bool) -> None:
    if asked:
        print(f"juanji {__version__}")
        raise typer.Exit


@app.callback()
def common(
    lang: Annotated[Language | None, typer.Option(help=say("option.lang"))] = None,
    debug: Annotated[bool, typer.Option("--debug", help=say("option.debug"))] = False,
    version: Annotated[bool, typer.Option("--version", help=say("option.version"), callback=_version, is_eager=True)] = False,
) -> None:
    if lang is not None:
        messages.use(lang.value)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status."""
    given = _common_first(arguments)
    try:
        status = app(given, prog_name="juanji", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if "--debug" in given:
            raise
        return _explain(error, _command(given))
    if status == INTERRUPTED:
        talk(say("interrupted"))
    return status if isinstance(status, int) else 0


def _explain(error: Exception, command: str) -> int:
    """Tell of an error in one line, and return the exit status it means."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2  # Typer has printed the help
    if hasattr(error, "format_message"):  # one of Typer's usage errors, whose class has moved between its versions
        text = error.format_message().rstrip(".").replace("Value error, ", "")
    else:
        text = " ".join(str(error).split())
        if not isinstance(error, ArgumentError):
            talk(say("error", text=text if isinstance(error, JuanjiError) else f"{type(error).__name__}: {text} (--debug)"))
            return 1
    talk(say("usage", text=text, command=command))
    return 2


def _common_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--lang` and `--debug` in front, where they belong to every command."""
    front, rest = [], []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--lang":
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        elif argument == "--debug" or argument.startswith("--lang="):
            front.append(argument)
        else:
            rest.append(argument)
    return [*front, *rest]


def _command(arguments: Sequence[str]) -> str:
    """The command that a usage error belongs to."""
    words = [a for a in arguments if not a.startswith("-") and a not in messages.LANGUAGES]
    named, known = ["juanji"], typer.main.get_command(app)
    for word in words:
        if word not in getattr(known, "commands", ()):
            break
        named.append(word)
        known = known.commands[word]  # type: ignore[attr-defined]  # a group, whose class has moved between Typer's versions
    return " ".join(named)
