"""The contract of sql/: every file is what its header says, belongs to one query, and runs in psql."""

import os
import re
import subprocess
import types
import typing
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise, takewhile
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

import seqdev
from seqdev.postgres import binaries as server_binaries
from seqdev.postgres.queries import ROOT, Statement, StatementError, literal, parse
from tests.contract.owners import OWNERS, owner
from tests.world import citus
from tests.world.command import url
from tests.world.inbox import SHAPES
from tests.world.statements import at, binds

FILES = sorted(str(file.relative_to(ROOT)) for file in ROOT.rglob("*.sql"))
DISTRIBUTED = [path for path in FILES if path.endswith("_distributed.sql")]
OF_CITUS = {
    *DISTRIBUTED,
    *("postgres/distributed.sql", "postgres/distribution.sql", "postgres/check_nodes.sql"),
}
"""What only runs on Citus."""

PYTHON_TYPES = {
    "bool": bool,
    "float8": float,
    "int4": int,
    "int8": int,
    "interval": timedelta,
    "jsonb": dict,
    "numeric": Decimal,
    "text": str,
    "timestamptz": datetime,
    "uuid": UUID,
    "_int4": list,
    "_text": list,
    "_uuid": list,
}


HOSTS_OWN = {
    "tick/replies.sql": f"create table whatsapp_messages ({SHAPES['flagged']})",
    "tick/delays.sql": "alter table broadcast_messages add min_delay_seconds integer, add max_delay_seconds integer",
    "tick/replies_epoch.sql": f"create table whatsapp_messages ({SHAPES['epoch']})",
}
"""Tables and columns that only some hosts have, by the statements that are about them."""


def base(path: str) -> str:
    """The file that a file for distributed tables stands in for; of another, itself."""
    return path.removesuffix("_distributed.sql") + ".sql" if path in DISTRIBUTED else path


def here(path: str) -> str:
    """The file that runs on the engine of the tests. Skips what does not run on it."""
    if not citus.URL:
        if path in OF_CITUS:
            pytest.skip("NOT TESTED: runs on Citus only, and SEQDEV_TEST_CITUS_URL names none")
        return path
    distributed = path.removesuffix(".sql") + "_distributed.sql"
    if distributed in DISTRIBUTED:
        pytest.skip(f"{distributed} runs on Citus")
    return path


def needed(path: str) -> list[str]:
    """The files that must run before this one, in the same transaction."""
    lines = (ROOT / path).read_text().splitlines()
    if "-- Needs:" not in lines:
        return []
    found = []
    for line in lines[lines.index("-- Needs:") + 1 :]:
        if not line.startswith("--   "):
            break
        found.append(line[5:].split()[0])
    return found


@pytest.mark.parametrize("path", FILES)
def test_every_file_belongs_to_exactly_one_query(path: str) -> None:
    assert [query.path for query in OWNERS].count(base(path)) == 1


@pytest.mark.parametrize("path", DISTRIBUTED)
def test_a_file_for_distributed_tables_has_the_header_of_the_file_it_stands_in_for(path: str) -> None:
    def contract(of: str) -> list[str]:
        header = takewhile(lambda line: line.startswith("--"), (ROOT / of).read_text().split("\n"))
        kept, section = [], ""
        for line in header:
            section = line if re.match(r"-- \S", line) else section
            if section in ("-- Parameters:", "-- Row:"):
                kept.append(line)
        return kept

    assert contract(path) == contract(base(path))
    # It takes no more than the other: that is refused when it is loaded.
    assert owner(base(path)).distributed.path == path


@pytest.mark.parametrize("path", FILES)
def test_declared_types_are_the_casts(path: str) -> None:
    source = (ROOT / path).read_text()
    statement = parse(source, path)
    for parameter in statement.parameters.values():
        if path in DISTRIBUTED and f":'{parameter.name}'" not in source:
            continue
        casts = re.findall(rf"(?:nullif\()?:'{parameter.name}'(?:, ''\))?::(\w+(?: \[\])?)", source)
        assert casts, f"{parameter.name} is used without a cast"
        assert {cast.replace(" ", "") for cast in casts} <= {parameter.type, "text"}
        assert parameter.type in {cast.replace(" ", "") for cast in casts}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path[:-4] + "_distributed.sql" not in DISTRIBUTED]
)
def test_psql_takes_the_gate_for_distributed_tables_where_there_is_one(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    for before, line in pairwise(lines):
        read = re.fullmatch(r"\\if :\{\?(\w+)\} \\else \\ir \.\./(\S+)\.sql \\endif", line)
        if read and f"{read[2]}_distributed.sql" in DISTRIBUTED:
            assert before == f"\\if :{{?distributed}} {line.replace('.sql', '_distributed.sql')} \\endif"


@pytest.fixture(scope="module")
def untouched(server: str, template: str) -> Iterator[str]:
    """A database with the host's tables, for statements that are rolled back."""
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        name = f"untouched_{os.getpid()}"
        connection.execute(f"create database {name} template {template}".encode())
        yield url(server, name)
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="module")
def session(untouched: str) -> "Iterator[psycopg.Connection[typing.Any]]":
    """One session for all files: each new one would read the catalogues anew."""
    with psycopg.connect(untouched) as connection:
        yield connection


@pytest.mark.cases(16)
@pytest.mark.parametrize("path", FILES)
def test_psql_runs_the_file_on_its_defaults(path: str, untouched: str) -> None:
    path = here(path)
    files = [item for name in (*needed(path), path) for item in ("-f", str(ROOT / name))]
    done = subprocess.run(
        [
            *(server_binaries.psql_path(), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", untouched),
            *("-v", "distributed=true") * bool(citus.URL),
            *("-c", "begin", "-c", HOSTS_OWN.get(base(path), "select"), *files, "-c", "rollback"),
        ],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def python_type(hint: object) -> object:
    """The runtime type of an annotation: of ``X | None`` it is X, of a NewType what it is made of."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (one for one in typing.get_args(hint) if one is not types.NoneType)
    hint = getattr(hint, "__supertype__", hint)
    return typing.get_origin(hint) or hint


@pytest.mark.parametrize("path", FILES)
def test_columns_and_types_are_the_fields_of_the_dataclass(
    path: str, session: "psycopg.Connection[typing.Any]"
) -> None:
    query = owner(base(here(path)))
    if query.statement.text.split("*/")[1].strip().lower().startswith("copy"):
        pytest.skip("COPY takes rows, it returns none")
    with session.transaction(force_rollback=True):
        session.execute(HOSTS_OWN.get(base(path), "select").encode())
        for name in needed(path):
            statement = at(owner(name))
            for text in (*statement.before, statement.text):
                session.execute(text.encode(), statement.bind({}))
        statement = at(query)
        given = binds(session, query)
        for text in statement.before:
            session.execute(text.encode(), given)
        cursor = session.execute(statement.text.encode(), given)
        columns = [(column.name, PYTHON_TYPES[type_name(column)]) for column in cursor.description or ()]
    if query.row is types.NoneType:
        assert columns == []
        return
    hints = typing.get_type_hints(query.row)
    assert columns == [(field.name, python_type(hints[field.name])) for field in fields(query.row)]


def type_name(column: psycopg.Column) -> str:
    """The type's name in the catalogue: arrays begin with an underscore."""
    found = psycopg.adapters.types.get(column.type_code)
    assert found is not None
    return "_" + found.name if found.array_oid == column.type_code else found.name


@pytest.mark.parametrize("path", FILES)
def test_every_file_has_a_title_and_says_what_it_locks(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    assert re.fullmatch(r"-- \S.*[^.]", lines[0])
    assert any(line.startswith("-- Locks: ") for line in lines)


def test_a_bind_in_a_comment_string_or_dollar_quote_is_none() -> None:
    statement = parse(
        "-- Title\n--\n-- Parameters:\n--   a  text  something\n-- Locks: none\n"
        "\\if :{?a} \\else \\set a 'it''s' \\endif\n"
        "select :'a'::text, ':b', E'\\':c', $$ :d $$, \"x:y\" /* :e */ -- :f\n, '10%', x::int;\n",
        "x.sql",
    )
    assert statement.bind({}) == {"a": "it's"}
    assert "%(a)s::text, ':b', E'\\':c', $$ :d $$" in statement.text
    assert "'10%%'" in statement.text


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("select :a;", "bare :a"),
        ("select 1; select 2;", "one statement"),
        ("select 1", "one statement"),
        ("select :'b'::text;", "declared []"),
        ("\\echo hello\nselect 1;", "backslash"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(body: str, complaint: str) -> None:
    with pytest.raises(StatementError, match=re.escape(complaint)):
        parse(f"-- Title\n--\n{body}\n", "x.sql")


def test_only_a_file_for_distributed_tables_may_have_several_statements() -> None:
    body = "select :'a'::text;\nselect '10%', ';';\n"
    header = "-- Title\n--\n-- Parameters:\n--   a  text  something\n\\if :{?a} \\else \\set a 'it' \\endif\n"
    statement = parse(header + body, "x_distributed.sql")
    assert statement.before == ("/* seqdev x_distributed.sql */ select %(a)s::text",)
    assert statement.text == "/* seqdev x_distributed.sql */ select '10%%', ';'"
    # Its header is another's: it need not use all of it.
    assert parse(header + "select 1;\n", "x_distributed.sql").bind({"a": "b"}) == {"a": "b"}
    with pytest.raises(StatementError, match="declared"):
        parse(header + "select :'a'::text, :'b'::text;\n", "x_distributed.sql")
    with pytest.raises(StatementError, match="one statement"):
        parse("-- Title\nselect 1", "x_distributed.sql")


def test_what_a_gate_decides_has_to_be_given() -> None:
    statement = parse(
        "-- Title\n\\if :{?steps} \\else \\ir ../gates/steps.sql \\endif\nselect :'steps'::uuid [];\n",
        "x/x.sql",
    )
    assert statement.gates == ("gates/steps.sql",)
    with pytest.raises(StatementError, match="wants the gates' steps"):
        statement.bind({})
    assert statement.bind({"steps": "{}"}) == {"steps": "{}"}


def test_a_gate_answers_for_its_own_columns_only() -> None:
    with pytest.raises(StatementError, match=r"gates/steps.sql has no column devices"):
        parse("-- Title\n\\if :{?devices} \\else \\ir ../gates/steps.sql \\endif\nselect 1;\n", "x/x.sql")


def test_a_parameter_that_the_file_does_not_have_is_refused() -> None:
    statement: Statement = parse("-- Title\nselect 1;\n", "x.sql")
    with pytest.raises(StatementError, match="no parameter other"):
        statement.bind({"other": 1})


@pytest.mark.parametrize(
    "value", ["", "a,b", '"', "\\", "{}", "NULL", "it's", "new\nline", "naïve 你好", "\\\\server", "a\tb"]
)
def test_any_text_survives_as_an_array_element(value: str, server: str) -> None:
    with psycopg.connect(server, dbname="postgres") as connection:
        row = connection.execute("select %s::text[]", [literal([value, None])]).fetchone()
    assert row == ([value, None],)


def test_nothing_but_the_loader_runs_sql() -> None:
    """No statement is spelled out in Python: what runs is a file below sql/."""
    package = Path(seqdev.__file__).parent
    spelled = re.compile(r"(?<![\"'])[\"'](select |insert into |update \w+ set|delete from |create |alter )")
    offenders = [
        f"{file.name}: {line.strip()}"
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if spelled.search(line)
    ]
    assert offenders == []


def test_psql_takes_the_parameters_as_variables(database: str) -> None:
    done = subprocess.run(
        [
            *(
                str(server_binaries.psql_path()),
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database,
            ),
            *("-v", "text=it's", "-f", str(ROOT / "postgres/lookup/sequences.sql")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
