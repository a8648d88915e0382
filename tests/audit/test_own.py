"""An operator's own audit: values of every type, columns of one name, and nothing but reading."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world.command import Cli, Ran, url
from tests.world.host import Connect, Host

Audit = Callable[..., Ran]


@pytest.fixture
def audit(seqdev: Cli, tmp_path: Path, host: Host) -> Audit:
    """Runs a statement as an audit of one's own."""

    def run(select: str, *options: str) -> Ran:
        file = tmp_path / "own.sql"
        file.write_text(f"-- Own\n{select};\n")
        return seqdev("audit", "run", str(file), *options)

    return run


def strict(text: str) -> Any:
    """JSON as other languages read it: no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


VALUES = [
    ("1.50::numeric", 1.5),
    ("12345678901234567890::numeric", 12345678901234567890),
    ("0.1234567890123456789::numeric", "0.1234567890123456789"),
    ("('1' || repeat('0', 400))::numeric", str(10**400)),
    ("'NaN'::numeric", "NaN"),
    ("'NaN'::double precision", "NaN"),
    ("'-Infinity'::real", "-Infinity"),
    ("time '24:00'", "24:00:00"),
    ("time with time zone '03:00+08'", "03:00:00+08"),
    ("date '2026-11-26'", "2026-11-26"),
    ("date 'infinity'", "infinity"),
    ("date '0044-03-15 BC'", "0044-03-15 BC"),
    ("timestamp '-infinity'", "-infinity"),
    ("timestamp '2026-11-26 03:00'", "2026-11-26T03:00:00"),
    ("interval '1 day'", 86400.0),
    ("interval '100000000 years'", "100000000 years"),
    ("inet '10.0.0.1/8'", "10.0.0.1/8"),
    ("cidr '10.0.0.0/8'", "10.0.0.0/8"),
    ("int4range(1, 5)", "[1,5)"),
    ("'{[1,2],[5,9)}'::int8multirange", "{[1,3),[5,9)}"),
    ("tstzrange(null, null)", "(,)"),
    ("'\\xdeadbeef'::bytea", "\\xdeadbeef"),
    ("array[1.5, 'NaN']::numeric[]", [1.5, "NaN"]),
    ("array[time '24:00', null]", ["24:00:00", None]),
    ("'{\"a\": [1e999, 2]}'::json", {"a": ["Infinity", 2]}),
    ("row(1, 'x')", ["1", "x"]),
    ("point(1, 2)", "(1,2)"),
    ("b'101'", "101"),
    ("null::inet", None),
]


@pytest.mark.thorough
def test_a_value_of_any_type_is_shown_in_every_format(audit: Audit) -> None:
    # A row a value, since the columns differ in type.
    for expression, shown in VALUES:
        ran = audit(f"select {expression} as value", "--format", "json")
        assert (ran.code, strict(ran.out)) == (3, [{"value": shown}]), expression
    select = "select " + ", ".join(f"{expression} as value_{i}" for i, (expression, _) in enumerate(VALUES))
    row = {f"value_{i}": shown for i, (_, shown) in enumerate(VALUES)}
    assert strict(audit(select, "--format", "jsonl").out) == row
    for output in ("table", "csv", "tsv", "markdown"):
        ran = audit(select, "--format", output)
        assert ran.code == 3, ran
        for shown in row.values():
            if isinstance(shown, str) and (output != "table" or len(shown) < 30):
                # Instants are written as people do.
                assert shown.replace("6T03", "6 03") in ran.out.replace("\\\\", "\\")


def test_numbers_stand_to_the_right(audit: Audit) -> None:
    ran = audit("select * from (values ('a', 5), ('b', 1200)) as v (name, leads) order by 1")
    assert [line.rsplit(" ", 1)[1] for line in ran.out.splitlines()[-2:]] == ["5", "1,200"]
    assert len({len(line) for line in ran.out.splitlines()[-2:]}) == 1


def test_a_list_is_no_formula(audit: Audit) -> None:
    ran = audit("select array['=1+1', 'b'] as value", "--format", "csv")
    assert list(csv.reader(io.StringIO(ran.out))) == [["value"], ["'=1+1, b"]]


def test_columns_of_one_name_are_all_shown(audit: Audit) -> None:
    select = "select 1 as id, 2 as id, 3 as column_2_id, 4 as id"
    for output in ("json", "csv"):
        ran = audit(select, "--format", output)
        row = strict(ran.out)[0] if output == "json" else next(csv.DictReader(io.StringIO(ran.out)))
        assert [int(value) for value in row.values()] == [1, 2, 3, 4]
        assert len(row) == 4


WRITES = {
    "dblink_exec": "select dblink_exec('dbname=' || current_database(), 'delete from leads')",
    "lo_import": "select lo_import('/etc/hostname')",
    "pg_read_file": "select pg_read_file('/etc/hostname')",
    "pg_advisory_lock": "select pg_advisory_lock(1)",
    "pg_notify": "select pg_notify('a', 'b')",
    "set_config": "select set_config('role', 'none', true)",
    "limit": "select 1 limit lo_import('/etc/hostname')::int",
    "values": "values (1), (lo_import('/etc/hostname')::int)",
    "quoted": 'select "pg_catalog" . "lo_import" /* " */ (\'/etc/hostname\')',
    "comment": "select lo_import -- (\n ('/etc/hostname')",
    "date": "select date'2026-11-26' > '\\', lo_import('/etc/hostname')",
    "from": "select * from pg_ls_dir('.')",
    "host's": "select touch()",
    "other schema": "select other.touch()",
}


@pytest.mark.thorough
@pytest.mark.cases(5)
@pytest.mark.parametrize("what", WRITES)
def test_a_function_that_may_do_more_than_read_is_refused(host: Host, audit: Audit, what: str) -> None:
    host.rows("create schema other")
    host.rows("create extension if not exists dblink")
    for name in ("touch", "other.touch"):
        host.rows(f"create function {name}() returns int language sql as 'select 1'")
    before = host.value("select count(*) from pg_largeobject_metadata")
    ran = audit(WRITES[what])
    assert (ran.code, ran.out) == (2, "")
    assert "may do more than read: " in ran.err
    assert "is volatile" in ran.err
    assert host.value("select count(*) from pg_largeobject_metadata") == before


def test_what_only_looks_like_a_volatile_function_runs(host: Host, audit: Audit) -> None:
    host.rows("create schema other")
    host.rows("create function other.format(text) returns text language sql volatile as 'select $1'")
    ran = audit(
        "-- lo_import('x')\nwith lo as (select now() as at) select format('%s', 'lo_import(''x'')') as a,"
        " coalesce(1, 2) as b, $$pg_notify('a')$$ as c, 1 in (1, 2) as \"lo_import\" from lo",
        "--format",
        "json",
    )
    assert ran.code == 3, ran
    assert strict(ran.out) == [{"a": "lo_import('x')", "b": 1, "c": "pg_notify('a')", "lo_import": True}]


def test_it_runs_as_the_audit_role_where_that_has_grants(
    host: Host, seqdev: Cli, audit: Audit, connect: Connect, server: str
) -> None:
    asked = ("select current_user as who", "--format", "json")
    superuser = strict(audit(*asked).out)[0]["who"]
    admin = connect(url(server, "postgres"))
    admin.execute("create role seqdev_audit")
    try:
        # In another database: here it is not meant.
        assert strict(audit(*asked).out) == [{"who": superuser}]
        assert seqdev("db", "grants", "audit", "--to", "seqdev_audit", "--yes").code == 0
        assert strict(audit(*asked).out) == [{"who": "seqdev_audit"}]
        host.rows("create table secret (id int)")
        ran = audit("select * from secret")
        assert ran.code == 12
        assert "the role seqdev_audit may not read what it asks for" in ran.err
        assert audit("select count(*) as leads from leads").code == 3
    finally:
        host.rows("drop owned by seqdev_audit")
        admin.execute("drop role seqdev_audit")
