"""The arguments of a command, checked and turned into those that Hydra reads.

Hydra's own parser of options would end the command with its usage and exit status 2, and would not
take an option after an override.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from air.cli.overrides import known_names, readable_overrides
from air.config.schema import Config
from air.errors import ConfigError

_TEXT = ()  # any
_OPTIONS: dict[str, tuple[str, ...] | None] = {  # of Hydra 1.3, with what may follow each
    "--help": None,
    "--cfg": ("job", "hydra", "all"),
    "--resolve": None,
    "--package": _TEXT,
    "--run": None,
    "--multirun": None,
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--config-path": _TEXT,
    "--config-name": _TEXT,
    "--config-dir": _TEXT,
    "--hydra-help": None,
    "--shell-completion": None,
    "--version": None,
}
_SHORT = {
    "-h": "--help",
    "-c": "--cfg",
    "-p": "--package",
    "-r": "--run",
    "-m": "--multirun",
    "-i": "--info",
    "-cp": "--config-path",
    "-cn": "--config-name",
    "-cd": "--config-dir",
    "-sc": "--shell-completion",
}
_ONE_OF = ("--run", "--multirun", "--cfg", "--info", "--shell-completion")


def hydra_arguments(arguments: Sequence[str], schema: type[Any] = Config) -> list[str]:
    """Return Hydra's arguments for those typed: options first, then readable overrides.

    Args:
        arguments: of the command, in any order.
        schema: of its configuration, whose keys say what they take.

    Raises:
        ConfigError: there is no such option, or an argument is no override.
    """
    options, overrides = _split(arguments, schema)
    chosen = [option for option in _ONE_OF if option in options]
    if len(chosen) > 1:
        raise ConfigError(f"{chosen[1]}: cannot be given together with {chosen[0]}")
    if "--resolve" in options and not {"--cfg", "--help"} & set(options):
        raise ConfigError("--resolve: must be given together with --cfg, such as --cfg job")
    multirun = "--multirun" in options or "hydra.mode=MULTIRUN" in overrides
    return [*options.values(), *readable_overrides(overrides, schema, multirun)]


def refuse_unknown_options(arguments: Sequence[str], help_text: str) -> None:
    """Refuse an option that the help of a command with a parser of its own does not name.

    Raises:
        ConfigError: there is no such option.
    """
    options = re.findall(r"--[\w-]+", help_text)
    for number, word in enumerate(arguments):
        if word.startswith("--") and word.partition("=")[0] not in options:
            raise ConfigError(_unknown_option(word, arguments[number + 1 :], options, Config))


class OneLineParser(argparse.ArgumentParser):
    """A parser of a command's own, whose errors are one line like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError`, where argparse would print its usage and end with status 2."""
        raise ConfigError(message)


def command_words(key: str, text: str) -> list[str]:
    """Return the words of a text that is written as on a command line.

    Args:
        key: where the text stands.
        text: with the shell's quotes.

    Raises:
        ConfigError: a quotation mark is left open.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{key}: must be as on a command line, got {text!r}: {error}") from None


def _split(arguments: Sequence[str], schema: type[Any]) -> tuple[dict[str, str], list[str]]:
    """Return the options as Hydra is given them, by their long names, and the overrides."""
    options: dict[str, str] = {}
    overrides = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        typed, equals, value = word.partition("=")
        name = _SHORT.get(typed, typed)
        if not word.startswith("-"):
            overrides.append(word)
        elif name not in _OPTIONS:
            raise ConfigError(_unknown_option(word, words, _OPTIONS, schema))
        elif (allowed := _OPTIONS[name]) is None:
            meant = _meant_override(word, words, schema)
            if equals or meant:
                hint = f"; write {shlex.quote(meant)}" if meant else f", got {value}"
                raise ConfigError(f"{typed}: takes no value{hint}")
            options[name] = typed
        else:
            is_value = words and words[0] not in (*_OPTIONS, *_SHORT)
            if not equals and is_value and (words[0] in allowed or name != "--info"):
                value = words.pop(0)
            value = value or ("all" if name == "--info" else "")
            if not value or (allowed and value not in allowed):
                follows = ", ".join(allowed) or "a value"
                raise ConfigError(f"{typed}: must be followed by {follows}, got {value or 'none'}")
            options[name] = f"{name}={value}"
    return options, overrides


def _unknown_option(
    word: str, following: Sequence[str], options: Iterable[str], schema: type[Any]
) -> str:
    """Return a line that says there is no such option, and what was probably meant."""
    option = word.partition("=")[0]
    meant = _meant_override(word, following, schema)
    begun = [each for each in options if len(option) > 2 and each.startswith(option)]
    close = begun or difflib.get_close_matches(option, list(options), n=1, cutoff=0.75)
    if meant:
        hint = f"write {shlex.quote(meant)}"
    elif close:
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"values are given as KEY=VALUE, and the options are {', '.join(options)}"
    return f"{option}: is not an option of this command; {hint}"


def _meant_override(word: str, following: Sequence[str], schema: type[Any]) -> str:
    """Return the override that is meant by `--key value`, or an empty text."""
    option, equals, value = word.partition("=")
    if not equals and following and re.match(r"(?!-\D)[^=]*$", following[0]):
        equals, value = "=", following[0]
    name = option.lstrip("-").replace("-", "_")
    keys = known_names(schema)
    ends = [key for key in keys if key.rpartition(".")[2] == name]
    known = name in keys or name.startswith("hydra.")
    key = name if known else ends[0] if len(ends) == 1 else ""
    return f"{key}={value}" if key and equals else ""
