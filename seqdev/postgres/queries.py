"""SQL files as queries: find, check, turn psql's variables into binds.

A statement lives in a file below ``sql/``, one statement a file, in psql's own dialect, so that
``psql -v since='2 hours' -f sql/audit/mismatches.sql`` runs the very text that seqdev runs. A
:class:`Query` ties a file to the dataclass of its row; everything that can be wrong with the file is
found when it is loaded.

Where the host's tables are distributed by Citus, a file ``NAME_distributed.sql`` stands in for ``NAME.sql``
beside it, if there is one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Generic, TypeVar

from seqdev.errors import SeqdevError, UsageError

Row = TypeVar("Row")

_PACKAGED = Path(__file__).parents[1] / "sql"
ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "sql"
"""The folder of the statements: inside the installed package, beside it in a source tree."""

_DISTRIBUTED = "_distributed.sql"
"""The end of the name of a file that stands in for another where the tables are distributed."""

_STATEMENT_ENDS = "\0"
"""Between the statements of such a file: no text that a server takes has it."""

_GATE = re.compile(r"^\\if :\{\?(\w+)\} \\else \\ir \.\./(\S+) \\endif$")
_ON_CITUS = re.compile(
    r"^\\if :\{\?distributed\} \\if :\{\?\w+\} \\else \\ir \.\./\S+_distributed\.sql \\endif \\endif$"
)
"""The gate that psql takes where it was told that the tables are distributed: seqdev knows by itself."""

_DEFAULT = re.compile(r"^\\if :\{\?(\w+)\} \\else \\set (\w+) '((?:[^']|'')*)' \\endif$")
_PARAMETER = re.compile(r"^--   (\w+)  +(\S+)  +(\S.*)$")
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<bind> :'(?P<name>\w+)' )
    | (?P<text> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<cast> :: )
    | (?P<bare> :["\w{][^\s,;)]* )
    | (?P<semicolon> ; )
    """,
    re.VERBOSE | re.DOTALL,
)


class StatementError(SeqdevError):
    """A file below ``sql/`` breaks the rules of the folder, or is called with other parameters."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a statement as its header declares it."""

    name: str
    type: str
    meaning: str
    default: str | None
    """None: a gate decides it, and it has to be given."""


@dataclass(frozen=True)
class Statement:
    """A loaded file: its title, its parameters by name, and the text with ``%(name)s`` binds.

    ``gates`` are the files whose row it takes as parameters; psql runs them first where it is not given.
    ``asks`` are the parameters of theirs that the file sets, since its own meaning depends on them.
    ``before`` are the statements that run before it, with the same parameters, and whose rows nobody takes.
    """

    path: str
    title: str
    parameters: Mapping[str, Parameter]
    text: str
    gates: tuple[str, ...] = ()
    asks: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()

    def bind(self, given: Mapping[str, object]) -> dict[str, str | None]:
        """Values for every bind: what is given, as text that SQL casts; else the file's default.

        Raises StatementError for something that the file does not declare, and for a gate's missing answer.
        """
        unknown = given.keys() - self.parameters.keys()
        if unknown:
            raise StatementError(f"sql/{self.path} has no parameter {', '.join(sorted(unknown))}")
        missing = {name for name, one in self.parameters.items() if one.default is None} - given.keys()
        if missing:
            raise StatementError(f"sql/{self.path} wants the gates' {', '.join(sorted(missing))}")
        return {
            name: literal(given[name]) if name in given else parameter.default
            for name, parameter in self.parameters.items()
        }


def literal(value: object) -> str | None:
    """A Python value as the text that PostgreSQL's own input functions read; None stays NULL.

    Raises UsageError for text that no server can take: NUL, and bytes of an argument that are not UTF-8.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if "\0" in value or (not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value)):
            raise UsageError(
                "a value is not text: it has NUL, or bytes that are not UTF-8", "write it in UTF-8"
            )
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return "{" + ",".join(_element(item) for item in value) + "}"
    return str(value)


def _element(value: object) -> str:
    text = literal(value)
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse(source: str, path: str) -> Statement:
    """The statement in ``source``, the text of the file ``path`` below ``sql/``.

    Raises StatementError where the file breaks a rule: no title, a bare ``:name``, parameters declared,
    defaulted and used that are not the same, more than one statement. One for distributed tables may have
    several, and need not use all that it declares: its header is that of the file that it stands in for.
    """
    distributed = path.endswith(_DISTRIBUTED)

    def refuse(why: str) -> StatementError:
        return StatementError(f"sql/{path}: {why}")

    # Not splitlines: psql ends a line at a newline, and at nothing else.
    lines = source.split("\n")
    if not lines or not lines[0].startswith("-- "):
        raise refuse("the first line must be the title, '-- …'")
    header = _header(source)
    declared = _declared(header)
    defaults: dict[str, str] = {}
    gates: dict[str, Parameter] = {}
    asked: set[str] = set()
    read: list[str] = []
    body = []
    for line in lines[len(header) :]:
        if match := _GATE.match(line):
            columns = _columns(match[2])
            if match[1] not in columns:
                raise refuse(f"{match[2]} has no column {match[1]}")
            gates |= columns
            asked |= _declared(_header(_read(match[2]))).keys()
            read.append(match[2].replace(_DISTRIBUTED, ".sql"))
        elif line == "\\gset":
            # The row becomes psql's variables: this ends the statement there as a semicolon does.
            body.append(";")
        elif _ON_CITUS.match(line):
            continue
        elif line.startswith("\\"):
            match = _DEFAULT.match(line)
            if not match or match[1] != match[2]:
                raise refuse(f"only defaults and gates may use a backslash command: {line}")
            defaults[match[1]] = match[3].replace("''", "'")
        else:
            body.append(line)
    used: set[str] = set()
    statements = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal statements
        if match["bare"]:
            raise refuse(f"bare {match['bare']}: write :'name' with a cast")
        if match["semicolon"]:
            statements += 1
            return _STATEMENT_ENDS
        if match["bind"]:
            used.add(match["name"])
            return f"%({match['name']})s"
        if match["comment"]:
            # To a database of the encoding SQL_ASCII, the driver sends nothing else.
            return match[0].encode("ascii", "replace").decode().replace("%", "%%")
        return match[0].replace("%", "%%")

    *before, text, rest = ["", *_substitute("\n".join(body), replace).split(_STATEMENT_ENDS)]
    if statements != 1 and not (distributed and statements):
        raise refuse(f"one statement a file, ended by a semicolon; found {statements}")
    handed_on = used & gates.keys()
    asks = {name: defaults.pop(name) for name in asked & defaults.keys() - declared.keys()}
    own = used - handed_on | (declared.keys() if distributed else set())
    if not own == declared.keys() == defaults.keys():
        raise refuse(
            f"parameters declared {sorted(declared)}, defaulted {sorted(defaults)}, used {sorted(used)}"
        )
    parameters = {
        name: Parameter(name, kind, meaning, defaults[name]) for name, (kind, meaning) in declared.items()
    } | {name: gates[name] for name in sorted(handed_on)}
    named = [f"/* seqdev {path} */ {one.strip()}" for one in (*before[1:], text + rest)]
    return Statement(path, lines[0][3:].strip(), parameters, named[-1], tuple(read), asks, tuple(named[:-1]))


def _header(source: str) -> list[str]:
    return list(takewhile(lambda line: line.startswith("--"), source.split("\n")))


def _declared(header: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The parameters of a header by name: type and meaning."""
    return {
        match[1]: (match[2], match[3])
        for line in _section(header, "Parameters")
        if (match := _PARAMETER.match(line))
    }


def _columns(path: str) -> dict[str, Parameter]:
    """The columns of a gate's row as parameters: each is a text, and its meaning begins with its type."""
    columns = {}
    for line in _section(_header(_read(path)), "Row"):
        if match := _PARAMETER.match(line):
            kind, _, meaning = match[3].partition(": ")
            columns[match[1]] = Parameter(match[1], kind, meaning, None)
    return columns


def _read(path: str) -> str:
    file = ROOT / path
    if not file.is_file():
        raise StatementError(f"sql/{path} is not part of this installation", "reinstall seqdev")
    return file.read_text(encoding="utf-8")


def _section(header: Iterable[str], name: str) -> list[str]:
    """The lines of one section of a header: below ``-- Name:`` up to the next unindented line."""
    found: list[str] = []
    inside = False
    for line in header:
        if re.match(r"^-- \S", line):
            inside = line == f"-- {name}:"
        elif inside:
            found.append(line)
    return found


def _substitute(text: str, replace: Callable[[re.Match[str]], str]) -> str:
    """``text`` with every token replaced; the ``%`` outside tokens doubled, as the driver wants it."""
    out: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        out += [text[end : match.start()].replace("%", "%%"), replace(match)]
        end = match.end()
    out.append(text[end:].replace("%", "%%"))
    return "".join(out)


@dataclass(frozen=True)
class Query(Generic[Row]):
    """A statement and the dataclass of its row; ``row`` is None where the statement returns none."""

    path: str
    row: type[Row]

    def make(self, *columns: str) -> Callable[..., Row]:  # noqa: ARG002
        """What makes a row of the values of these columns: they are the fields, which a test holds."""
        return self.row

    @cached_property
    def statement(self) -> Statement:
        """The loaded file. Raises StatementError when it is missing or breaks a rule."""
        return parse(_read(self.path), self.path)

    @cached_property
    def distributed(self) -> Statement:
        """What runs where the tables are distributed: the file beside it for that, if there is one.

        It is called with the parameters of the other. Raises StatementError where it wants more than these.
        """
        path = self.path.removesuffix(".sql") + _DISTRIBUTED
        if not (ROOT / path).is_file():
            return self.statement
        found = parse(_read(path), path)
        if more := found.parameters.keys() - self.statement.parameters.keys():
            raise StatementError(f"sql/{path} takes {', '.join(sorted(more))}, and sql/{self.path} does not")
        return replace(found, parameters=self.statement.parameters)
