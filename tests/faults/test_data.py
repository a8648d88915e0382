"""Clocks, time zones, dates that are no dates, dirty rows, and files that are not what they should be."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.reconcile import outcome
from tests.faults.record import Held, fault
from tests.faults.world import World, scale
from tests.world.command import Ran
from tests.world.hostile import CONTROL

Worlds = Callable[..., World]

DAYS = 86_400

NASTY = {
    "escape": "\x1b[31mred\x1b[0m",
    "bell": "\x07\x08\x0b\x0c",
    "carriage return": "one\rtwo",
    "newline": "one\ntwo\n",
    "tab": "one\ttwo",
    "C1": "\x9b31m\x85",
    "bidi": "\u202e\u2066evil\u2069",
    "zero width": "\u200b\u200d\ufeff",
    "formula": "=1+1",
    "formula @": "@SUM(A1)",
    "formula after space": " \t=cmd|' /C calc'!A0",
    "quotes": "'\"`$$",
    "backslash": "\\x41\\",
    "percent": "%s %(x)s %",
    "bind": ":'x' :x",
    "braces": "{0} {x} [red]",
    "array": "{a,\"b\",NULL}",
    "emoji": "👩‍👩‍👧",
    "combining": "é" * 20,
    "line separators": "\u2028\u2029",
    "long": "x" * 200,
    "empty": "",
    "spaces": "   ",
    "null word": "NULL",
    "comma": ",,,",
}  # fmt: skip


@fault("clock of the client 2 days and 10 years off, both ways", days=["-2", "+2", "-3650", "+3650"])
def test_the_clock_of_the_client_does_not_matter(
    make_world: Worlds, held: Held, expected: list[str], days: str
) -> None:
    for argv in (
        ["tick"],
        ["enroll", "--yes"],
        ["repair", "stuck", "--yes"],
        ["repair", "assigned", "--yes"],
    ):
        one, other = make_world(), make_world()
        for world, shift in ((one, "0"), (other, str(int(days) * DAYS))):
            assert world.run(*argv, shows=True, SEQDEV_FAULTS_CLOCK=shift).code in (0, 3)
            world.account()
        assert outcome(one.host) == outcome(other.host), argv
        held.tries += 1
    assert (
        other.host.value(
            "select count(*) from seqdev.run where abs(extract(epoch from now() - started_at)) > 600"
        )
        == 0
    )


@fault("TZ, locale and date style of the client", zone=["Pacific/Kiritimati", "America/St_Johns", "nonsense"])
def test_the_time_zone_of_the_client_does_not_matter(
    make_world: Worlds, held: Held, expected: list[str], zone: str
) -> None:
    world = make_world()
    known: dict[str, Any] = {} if zone == "nonsense" else {"PGTZ": zone}
    ran = world.run("tick", TZ=zone, LC_ALL="tr_TR.UTF-8", PGDATESTYLE="SQL, DMY", **known)
    assert ran.code == 0, ran.err
    world.account(expected)
    held.tries += 1


@fault("DST change in the configured zone, {change}", change=["spring", "autumn"])
def test_nobody_is_sent_early_or_twice_by_a_clock_change(make_world: Worlds, held: Held, change: str) -> None:
    """The naive instants of a week around the change, hour by hour, of a zone that has just changed or will."""
    zone = "Europe/Berlin"
    world = make_world()
    begin = "2026-03-26" if change == "spring" else "2026-10-22"
    world.host.rows("delete from sequence_contacts where contact_phone ~ '^601990'")
    world.host.rows("delete from was.sequence_contacts where contact_phone ~ '^601990'")
    world.host.rows(
        "insert into sequence_contacts (id, sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)"
        " select md5('dst' || h)::uuid, md5('warm1')::uuid, md5('warm11')::uuid, '60199' || lpad((h + 1)::text, 7, '0'),"
        " md5('device 11')::uuid, %s::timestamp + h * interval '30 minutes' from generate_series(0, 400) h",
        begin,
    )
    world.host.make_leads()
    world.host.rows("insert into was.leads select * from leads where id not in (select id from was.leads)")
    world.host.rows(
        "insert into was.sequence_contacts select * from sequence_contacts where contact_phone ~ '^601990'"
    )
    due = world.host.value(
        "select count(*) from sequence_contacts where contact_phone ~ '^601990' and next_trigger_time at time zone %s <= now()",
        zone,
    )
    ran = world.run("--timezone", zone, "tick", "--format", "json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["queued"] == due
    world.reconcile()
    # The next step falls due the delay after that, counted in hours that pass, not in hours on the wall.
    assert not world.host.rows(
        "select 1 from sequence_contacts where contact_phone ~ '^601990' and status = 'completed'"
        " and abs(extract(epoch from completed_at at time zone %s - now())) > 600", zone,
    )  # fmt: skip
    assert world.run("--timezone", zone, "tick").code == 0
    world.reconcile()
    held.tries += 401


@fault("infinity and NULL in dates")
def test_dates_that_are_no_dates_stop_nobody(make_world: Worlds, held: Held, expected: list[str]) -> None:
    for value, sent in (
        ("'infinity'", False),
        ("'-infinity'", True),
        ("null", False),
        # Finite, and outside Python's calendar.
        ("'0044-03-15 BC'", True),
        ("'294276-12-31'", False),
    ):
        world = make_world()
        victims = world.host.rows(
            f"update sequence_contacts set next_trigger_time = {value} where id in (select id from sequence_contacts"
            " where status = 'active' and contact_phone ~ '^601990' and assigned_device_id is not null order by id limit 5) returning id"
        )
        world.host.rows("truncate was.sequence_contacts")
        world.host.rows("insert into was.sequence_contacts table sequence_contacts")
        world.host.rows(
            f"update broadcast_messages set sent_at = {value}, scheduled_at = {value} where campaign_id = 7"
        )
        world.host.rows(f"update user_devices set last_seen = {value}")
        for table in ("broadcast_messages", "user_devices"):
            world.host.rows(f"truncate was.{table}")
            world.host.rows(f"insert into was.{table} table {table}")
        for argv in (
            ["tick", "--policy", "strict"],
            ["tick"],
            ["audit", "all"],
            ["explain", "601990000001"],
            ["audit", "contacts"],
        ):
            ran = world.run(*argv, shows=True)
            assert ran.code in (0, 3), (value, argv, ran)
        done = world.host.value(
            "select count(*) from sequence_contacts where id = any(%s) and status = 'completed'",
            [row.id for row in victims],
        )
        assert done == (5 if sent else 0), value
        world.account()
        held.tries += 1


@fault("control characters and formulas in every text of the host's")
def test_no_string_of_the_database_reaches_the_screen_as_it_is(make_world: Worlds, held: Held) -> None:
    world = make_world()
    names = list(NASTY.values())
    for table, column, width in (
        ("user_devices", "device_name", 250), ("user_devices", "platform", 50), ("sequences", "name", 250),
        ("leads", "name", 250), ("leads", "niche", 250), ("sequence_contacts", "contact_name", 250),
        ("sequence_contacts", "last_error", 250), ("sequence_steps", "content", 250), ("broadcast_messages", "error_message", 250),
        ("broadcast_messages", "content", 250), ("sequence_steps", "media_url", 250), ("user_devices", "status", 50),
        ("leads", "status", 50),
    ):  # fmt: skip
        world.host.rows(
            f"update {table} t set {column} = left((%s::text[])[1 + n %% %s], %s) from (select id, row_number() over (order by id)::integer as n from {table}) x where x.id = t.id",
            names, len(names), width,
        )  # fmt: skip
    for argv in (
        ["audit", "mismatches", "--all", "--matches"], ["audit", "devices"], ["audit", "sequences"], ["audit", "leads"], ["audit", "contacts"],
        ["audit", "collisions"], ["audit", "all"], ["explain", "601991000001"], ["explain", "601990000001"], ["repair", "assigned", "--dry-run"],
        ["repair", "missing", "--dry-run"], ["enroll", "--dry-run"], ["tick", "--dry-run"], ["tick", "--compare"], ["db", "check"],
        ["tick"],
    ):  # fmt: skip
        every = argv[0] in ("explain", "repair") or argv == ["audit", "mismatches", "--all", "--matches"]
        for output in ("table", "csv", "markdown", "json", "jsonl", "tsv")[: 6 if every else 2]:
            ran = world.run(*argv, "--format", output, shows=True)
            if ran.code == 2 and "No such option" in ran.err:
                ran = world.run(*argv[:-1], "--format", output, shows=True)
            assert ran.code in (0, 3), (argv, output, ran)
            seen = CONTROL & set(ran.out + ran.err)
            assert not seen, (argv, output, seen)
            if output in ("csv", "tsv"):
                for line in ran.out.splitlines():
                    for cell in line.replace('"', "").split("," if output == "csv" else "\t"):
                        assert cell[:1] not in "=@" or not cell, (argv, line)
            held.tries += 1


@fault("rows that nobody should have: every kind of dirt")
def test_dirty_rows_wait_with_a_reason_and_hold_nobody_back(make_world: Worlds, held: Held) -> None:
    dirt = {
        "no step": "sequence_stepid = null",
        "step of another sequence": "sequence_stepid = md5('solo11')::uuid",
        "step that is not there": "sequence_stepid = gen_random_uuid()",
        "no phone": "contact_phone = ''",
        "blank phone": "contact_phone = E'\\t '",
        "device that is not there": "assigned_device_id = gen_random_uuid()",
        "device of another user": "assigned_device_id = md5('device 21')::uuid",
        "unknown status": "status = 'Active '",
        "no status": "status = null",
        "user that is not there": "user_id = gen_random_uuid()",
        "claimed in the future": "processing_started_at = now() + interval '1 year'",
        "claimed for ever": "processing_started_at = 'infinity'",
        "no retry count": "retry_count = null",
        "name of 255 characters": "contact_name = repeat('n', 255)",
        "phone with letters": "contact_phone = 'nobody@example'",
        "phone of 50 signs": "contact_phone = repeat('9', 50)",
    }
    for what, change in dirt.items():
        world = make_world()
        (victim,) = world.host.rows(
            f"update sequence_contacts set {change} where id = (select id from sequence_contacts where status = 'active'"
            " and contact_phone ~ '^601990' and sequence_id = md5('warm1')::uuid and assigned_device_id is not null order by id limit 1) returning id"
        )
        world.host.rows("truncate was.sequence_contacts")
        world.host.rows("insert into was.sequence_contacts table sequence_contacts")
        for policy in ("queue", "reassign", "strict", "fallback"):
            ran = world.run("tick", "--policy", policy, "--format", "json", shows=True)
            assert ran.code in (0, 3), (what, policy, ran)
            world.reconcile()
        for argv in (
            ["audit", "all"],
            ["audit", "contacts"],
            ["enroll", "--yes"],
            ["repair", "missing", "--yes"],
            ["repair", "assigned", "--yes"],
        ):
            ran = world.run(*argv, shows=True)
            assert ran.code in (0, 3), (what, argv, ran)
        others = world.host.value(
            "select count(*) from sequence_contacts where status = 'active' and id <> %s and contact_phone ~ '^601990'"
            " and next_trigger_time < now() at time zone 'UTC' - interval '50 seconds'", victim.id,
        )  # fmt: skip
        assert others == 0, f"{what}: {others} others were held back"
        assert not world.host.broken_promises()
        held.tries += 1


# -- Files -----------------------------------------------------------------------------------------------------


def files() -> Iterator[tuple[str, bytes]]:
    """Files of leads that are not what they should be."""
    good = b"phone,name\n+60123456789,Ana\n"
    yield "an unterminated quote", b'phone,name\n+60123456789,"Ana\n' + b"+60123456788,Ben\n" * 2000
    yield "a quote in mid-field", b'phone,name\n+60123456789,A"n"a\n'
    yield "NUL bytes", b"phone,name\n+60123\x00456789,An\x00a\n"
    yield "only NUL bytes", b"\0" * 10_000
    yield "invalid UTF-8", b"phone,name\n+60123456789,\xff\xfe\xc3(\n"
    yield "surrogates", b"phone,name\n+60123456789,\xed\xa0\x80\xed\xb0\x80\n"
    yield "UTF-16", good.decode().encode("utf-16")
    yield "Latin-1", "phone,name\n+60123456789,Ana Ñandú\n".encode("latin-1")
    yield "a BOM twice", b"\xef\xbb\xbf\xef\xbb\xbf" + good
    yield "empty", b""
    yield "only a header", b"phone,name\n"
    yield "only newlines", b"\n" * 1000
    yield "no header", b"+60123456789,Ana\n"
    yield "the same header twice", b"phone,phone\n+60123456789,+60123456788\n"
    yield "a line of a megabyte", b"phone,name\n+60123456789," + b"x" * 1_000_000 + b"\n"
    yield "a header of a megabyte", b"x" * 1_000_000 + b"\n"
    yield "ten thousand columns", b"phone" + b",name" * 10_000 + b"\n"
    yield "more fields than columns", b"phone,name\n+60123456789,Ana,x,y,z\n"
    yield "fewer fields than columns", b"phone,name,niche\n+60123456789\n"
    yield "control characters", b"phone,name\n+60123456789,\x1b[2J\x07\x9b\n"
    yield "bidi", "phone,name\n+60123456789,\u202eevil\n".encode()
    yield "carriage returns only", b"phone,name\r+60123456789,Ana\r"
    yield "a zip archive", b"PK\x03\x04" + bytes(range(256)) * 40
    yield "formulas", b"phone,name\n+60123456789,=1+1\n@x,@y\n"
    yield "SQL", b"phone,name\n+60123456789,'); drop table leads; --\n"


@fault(
    f"files of leads that are none: {len(list(files()))} kinds, from an unterminated quote to NUL and surrogates",
    kind=[kind for kind, _ in files()],
)
def test_a_file_that_is_none_ends_in_the_contract(
    world: World, held: Held, kind: str, tmp_path: Path
) -> None:
    file, rejects = tmp_path / "leads.csv", tmp_path / "rejects.csv"
    file.write_bytes(dict(files())[kind])
    owner = world.host.value("select id from users order by id limit 1")
    before = world.host.value("select count(*) from leads")
    argv = ["leads", "import", file, "--user", owner, "--distribute"]
    for options in (["--dry-run"], [], ["--rejects", rejects]):
        ran: Ran = world.run(*argv, *options, shows=True)
        assert ran.code in (0, 2, 3), (options, ran)
        assert len(ran.err.splitlines()) < 10
        assert not CONTROL & set(ran.out + ran.err), ran
    if rejects.exists():
        assert not CONTROL - set("\x85") & set(rejects.read_text(errors="replace")), (
            "control characters in the rejects"
        )
    lines = kind in ("an unterminated quote",)
    assert world.host.value("select count(*) from leads") - before <= (2000 if lines else 1)
    world.host.rows("delete from leads where phone !~ '^60199'")
    world.account()
    held.tries += 3


@fault("a file of leads of 1 GB", run="long")
def test_a_file_of_a_gigabyte_is_imported_in_little_memory(world: World, held: Held, tmp_path: Path) -> None:
    import resource

    from tests.faults.processes import ended, start

    file = tmp_path / "leads.csv"
    lines = scale(1_050_000)
    with file.open("w") as out:
        out.write("phone,name,niche,remarks\n")
        filler = "niche," + "n" * 960
        out.writelines(f"+62812{number:08},Name {number},{filler}\n" for number in range(lines))
    owner: Any = world.host.value("select id from users order by id limit 1")
    ran = ended(
        start(
            world.url,
            "leads",
            "import",
            file,
            "--user",
            owner,
            "--distribute",
            "--rejects",
            tmp_path / "rejects.csv",
        ),
        timeout=3600,
    )
    assert ran.code == 0, ran
    assert world.host.value("select count(*) from leads where phone ~ '^62812'") == lines
    held.tries += 1
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert peak < 400, f"{peak:.0f} MB"
    held.note(f"{file.stat().st_size / 1e9:.1f} GB, {peak:.0f} MB of memory")
