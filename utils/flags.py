"""Command line flags generated from option dataclasses: field `min_track` becomes `--minTrack`.

The `Annotated` line of a field holds its default, meaning and unit.
"""

import argparse
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

Options = TypeVar("Options")
Names = Mapping[str, Sequence[str]]  # by field
NO_NAMES: Names = MappingProxyType({})


class _Help(argparse.Action):
    """`--help` shows the essential flags, `--help all` every flag."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: Sequence[str]) -> None:
        super().__init__(
            option_strings,
            dest,
            nargs="?",
            const=const,
            choices=["all"],
            default=argparse.SUPPRESS,
            help="show this message; --help all shows every flag",
        )

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002
        values: object,
        option_string: str | None = None,  # noqa: ARG002
    ) -> NoReturn:
        if values != "all":
            for action in parser._actions:
                is_alias = action.default == argparse.SUPPRESS
                if action is not self and (is_alias or action.dest not in self.const):
                    action.help = argparse.SUPPRESS if action.option_strings else action.help
        parser.print_help()
        parser.exit()


def make_parser(description: str | None, essential: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser whose only flag is `--help`.

    Args:
        description: Description of the command; its line breaks are kept.
        essential: Fields whose flags `--help` shows; `--help all` shows every flag.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=_Help, const=tuple(essential))
    return parser


def flag_name(field_name: str) -> str:
    """Return the published spelling of an option's name: min_track -> minTrack."""
    first, *others = field_name.split("_")
    return first + "".join(word.capitalize() for word in others)


def add_flags(
    parser: argparse.ArgumentParser, options: type[Any], title: str, names: Names = NO_NAMES
) -> None:
    """Add one flag for each field of the frozen dataclass `options`.

    Fields are `Annotated[type, "meaning"] = default`; bool fields (default False) become switches,
    Literal fields choices.

    Args:
        parser: Parser to which the flags are added.
        options: Option dataclass.
        title: Title of the group in the help.
        names: Allowed values by field; other fields take any value.
    """
    group = parser.add_argument_group(title)
    hints = get_type_hints(options, include_extras=True)
    for field in fields(options):
        hint = hints[field.name]
        kind, meaning = get_args(hint) if get_origin(hint) is Annotated else (hint, "")
        flag = f"--{flag_name(field.name)}"
        if kind is bool:
            group.add_argument(flag, dest=field.name, action="store_true", help=meaning)
            continue
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(choice for choice in get_args(kind) if choice is not type(None))
        default = "" if field.default in (None, "") else f" (default: {field.default})"
        arguments: dict[str, Any] = {"type": kind, "metavar": kind_name(kind)}
        if get_origin(kind) is Literal:
            arguments = {"choices": get_args(kind)}
        if field.name in names:
            arguments = {"choices": names[field.name]}
        group.add_argument(
            flag, dest=field.name, default=field.default, help=meaning + default, **arguments
        )


def kind_name(kind: object) -> str:
    """Return the placeholder for values of a type in the help: INT, FLOAT, PATH ..."""
    return str(getattr(kind, "__name__", kind)).upper()


def read_flags(arguments: argparse.Namespace, options: type[Options]) -> Options:
    """Return the options from parsed arguments; their checks may raise ValueError."""
    return options(**{field.name: getattr(arguments, field.name) for field in fields(options)})  # type: ignore[arg-type]


def add_groups(
    parser: argparse.ArgumentParser, options: type[Any], names: Names = NO_NAMES
) -> None:
    """Add the flags of all groups of `options`: its fields are option dataclasses."""
    for name, group in get_type_hints(options).items():
        add_flags(parser, group, name, names)


def read_groups(arguments: argparse.Namespace, options: type[Options]) -> Options:
    """Return all groups of `options` from parsed arguments; their checks may raise ValueError."""
    groups = get_type_hints(options)
    return options(**{name: read_flags(arguments, group) for name, group in groups.items()})
