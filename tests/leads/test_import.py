"""What the import of leads promises: one promise a test."""

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdev.leads.phone import parsed, phone_reader, plainly_valid
from tests.world.command import ROOT, Cli, Ran, command
from tests.world.host import Host


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "leads.csv"


def phone(number: int) -> str:
    """Valid numbers, all different."""
    return f"1202{2_000_000 + number}"


def load(seqdev: Cli, file: Path, user: UUID, *options: object) -> tuple[Ran, Any]:
    """Run the import; its exit code and stderr, and the JSON of stdout."""
    ran = seqdev("leads", "import", str(file), "--user", str(user), "--format", "json", *map(str, options))
    return ran, json.loads(ran.out) if ran.out else None


def imported(seqdev: Cli, file: Path, user: UUID, *options: object) -> Any:
    """Run an import that must succeed; its summary."""
    ran, out = load(seqdev, file, user, *options)
    assert (ran.code, ran.err, out["rejected"]) == (0, "", [])
    return out["import"]


def refused(seqdev: Cli, file: Path, user: UUID, *options: object) -> list[tuple[int, str]]:
    """Run an import that must be refused because of its lines; the lines and reasons."""
    ran, out = load(seqdev, file, user, *options)
    assert ran.code == 3
    assert f"nothing {'would be' if '--dry-run' in options else 'was'} imported" in ran.err
    assert "--rejects FILE" in ran.err
    assert (out["import"]["imported"], out["import"]["updated"]) == (0, 0)
    assert out["import"]["rejected"] == sum(out["import"]["reasons"].values())
    return [(one["line"], one["reason"]) for one in out["rejected"]]


def usage_error(seqdev: Cli, file: Path, user: UUID, *options: object) -> str:
    """Run an import that must end as wrong usage; what it says."""
    ran, _ = load(seqdev, file, user, *options)
    assert (ran.code, ran.out) == (2, "")
    return ran.err


def leads(host: Host) -> list[Any]:
    return host.rows("select phone, name, niche, trigger, device_id from leads order by phone")


def test_a_file_becomes_leads_of_the_device(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    device = host.device(user, "front desk")
    file.write_text(
        'phone,name,niche,trigger\n+1 202-555-0101,Ana,fitness,"WARM, , COLD,WARM"\n12025550102,,,\n'
    )
    summary = imported(seqdev, file, user, "--device", "front desk")
    assert {name: summary[name] for name in ("read", "imported", "updated", "unchanged", "skipped")} == {
        "read": 2,
        "imported": 2,
        "updated": 0,
        "unchanged": 0,
        "skipped": 0,
    }
    assert leads(host) == [
        ("12025550101", "Ana", "fitness", "WARM,COLD", device),
        ("12025550102", None, None, None, device),
    ]
    (run,) = host.rows("select * from seqdev.run")
    assert (str(run.id), run.command, run.counts["imported"]) == (summary["run_id"], "leads import", 2)
    assert run.finished_at is not None


@pytest.mark.cases(4)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_any_delimiter_newline_and_bom(
    host: Host, seqdev: Cli, file: Path, delimiter: str, bom: str, newline: str
) -> None:
    user = host.user()
    rows = [["Name", "Phone"], ["Ana, Bo; Cy\tDé", "12025550101"]]
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write(bom)
        csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL).writerows(rows)
    imported(seqdev, file, user, "--device", host.device(user))
    assert [row[:2] for row in leads(host)] == [("12025550101", "Ana, Bo; Cy\tDé")]


def test_the_delimiter_is_the_one_outside_quotes(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text('"note, with, commas\nand ""more"", ";phone\nx;12025550101\n')
    ran, out = load(seqdev, file, user, "--device", host.device(user))
    assert (ran.code, out["import"]["imported"]) == (0, 1)


@pytest.mark.parametrize(
    "headers",
    [
        "phone,name,niche,trigger,device",
        "Phone Number,Full Name,CATEGORY,Tags,Device Name",
        "No. HP,nama,niche,Triggers,device_id",
        "tele-phone,contact_name,Category,tag s,DEVICE",
        "WhatsApp,name,niche,trigger,device-name",
        "contact,name,niche,trigger,device",
    ],
)
def test_headers_are_found_in_any_spelling(host: Host, seqdev: Cli, file: Path, headers: str) -> None:
    user = host.user()
    device = host.device(user, "d1")
    file.write_text(f"{headers}\n12025550101,Ana,fitness,WARM,d1\n")
    imported(seqdev, file, user)
    assert leads(host) == [("12025550101", "Ana", "fitness", "WARM", device)]


def test_first_and_last_name_make_the_name(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone,First Name,last_name\n12025550101,Ana,Lim\n12025550102,,Ong\n")
    imported(seqdev, file, user, "--device", host.device(user))
    assert [row.name for row in leads(host)] == ["Ana Lim", "Ong"]


def test_other_columns_are_announced_as_ignored(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone,Shoe Size,\x1b[31m\n12025550101,44,x\n")
    ran, _ = load(seqdev, file, user, "--device", host.device(user))
    assert ran.code == 0
    assert ran.err.splitlines()[0] == "seqdev: columns ignored: 'Shoe Size', '\\x1b[31m'"
    assert "\x1b" not in ran.err


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        ("name,niche", "no column for the phone in the header line: 'name', 'niche'"),
        ("phone,Tel,name", "two columns for the phone: 'phone' and 'Tel'"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("phone,\x00", "not UTF-8 text"),
        ("x" * (1 << 20), "this is no CSV file"),
    ],
)
def test_a_file_without_sensible_headers_is_wrong_usage(
    host: Host, seqdev: Cli, file: Path, head: str, complaint: str
) -> None:
    user = host.user()
    file.write_text(head)
    assert complaint in usage_error(seqdev, file, user, "--device", host.device(user))


def test_a_file_without_header_line_does_not_put_phones_on_stderr(
    host: Host, seqdev: Cli, file: Path
) -> None:
    user = host.user()
    file.write_text("+1 202-555-0101,Ana\n+1 202-555-0102,Bo\n")
    said = usage_error(seqdev, file, user, "--device", host.device(user))
    assert "(a number), 'Ana'" in said
    assert "555" not in said


def test_a_file_that_is_not_there_is_wrong_usage(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    assert "cannot read" in usage_error(seqdev, file, user, "--device", host.device(user))


def test_the_file_may_be_stdin(host: Host, process: Cli) -> None:
    user = host.user()
    device = host.device(user)
    ran = process(
        *("leads", "import", "-", "--user", str(user), "--device", str(device), "--format", "json"),
        stdin='\ufeffphone,name\r\n12025550101,"Dé\r\nBo"\r\n',
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert (ran.code, ran.err) == (0, "")
    assert [row.name for row in leads(host)] == ["Dé\r\nBo"]


def test_a_quoted_newline_is_part_of_the_name_and_lines_are_counted_as_in_the_file(
    host: Host, seqdev: Cli, file: Path
) -> None:
    user = host.user()
    file.write_text('\nphone,name\n\n12025550101,"two\nlines"\n , \nbad,x\n')
    assert refused(seqdev, file, user, "--device", host.device(user)) == [(7, "bad_phone")]
    file.write_text('phone,name\n12025550101,"two\nlines"\n')
    imported(seqdev, file, user, "--device", host.device(user))
    assert [row.name for row in leads(host)] == ["two\nlines"]


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    "body",
    [
        '12025550101,"Ana\n12025550102,Bo\n',
        '12025550101,"Ana" Lim\n12025550102,Bo\n',
        '12025550101,"Ana\n12025550102,"Bo"\n12025550103,Cy\n',
        '12025550101,"' + "x" * 200_000 + '"\n',
        '12025550101,"' + "x\n" * (1 << 19) + '"\n',
        "12025550101," + "x" * (1 << 20) + "\n",
    ],
)
@pytest.mark.parametrize("rejects", [False, True])
def test_a_quote_that_is_not_closed_names_its_line_and_imports_nothing(
    host: Host, seqdev: Cli, file: Path, tmp_path: Path, body: str, rejects: bool
) -> None:
    user = host.user()
    file.write_text("phone,name\n12025550199,Zoe\n" + body)
    options = ["--rejects", tmp_path / "rejects.csv"] if rejects else []
    said = usage_error(seqdev, file, user, "--device", host.device(user), *options)
    assert "line 3: a quote that is not closed" in said
    assert "1202" not in said
    assert leads(host) == []
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.parametrize(
    ("region", "written", "stored"),
    [
        (None, "+1 202-555-0101", "12025550101"),
        (None, "001 202 555 0101", "12025550101"),
        (None, "12025550101", "12025550101"),
        (None, "1 202-555-0101", "12025550101"),
        (None, "'+12025550101", "12025550101"),
        (None, "\u202a+1 202\u00a0555 0101\u202c", "12025550101"),
        (None, "12025550101.0", "12025550101"),
        (None, "+60 12-345 6789", "60123456789"),
        ("MY", "012-345 6789", "60123456789"),
        ("my", "60123456789", "60123456789"),
        ("MY", "+1 202-555-0101", "12025550101"),
        ("MY", "0012025550101", "12025550101"),
        ("US", "(202) 555-0101", "12025550101"),
        (None, "012-345 6789", None),
        (None, "(202) 555-0101", None),
        (None, "+1 202-555-0101 ext. 5", None),
        (None, "+1 202-555-0101,5", None),
        (None, "+1 800 FLOWERS", None),
        (None, "1.2025550101E+10", None),
        (None, "+1202555010", None),
        (None, "+012025550101", None),
        (None, "+44 (0)20 7946 0958", "442079460958"),
        (None, "+39 06 698 12345", "390669812345"),
        (None, "+999 123456789", None),
        (None, "12025550101 / 12025550102", None),
        (None, "-", None),
        ("US", "2025550101 2025550102", None),
    ],
)
def test_a_phone_is_read_as_people_write_it(region: str | None, written: str, stored: str | None) -> None:
    assert phone_reader(region)(written) == stored


SIGNS = st.text(" -.()", max_size=2)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Numbers of every country, nearly valid, in any spelling; codes that no country has, too."""
    region = draw(st.sampled_from([None, *sorted(phonenumbers.SUPPORTED_REGIONS)]))
    kind = draw(st.sampled_from(phonenumbers.PhoneNumberType.values()))
    example = phonenumbers.example_number_for_type(region, kind) if region else None
    if example:
        text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)[1:]
        # Three digits at the most are others than in the example, or there are more or fewer of them.
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, len(text)))
            text = text[:place] + draw(st.text("0123456789", max_size=2)) + text[place + 1 :]
    else:
        text = draw(st.text("0123456789", min_size=1, max_size=16))
    return "+" + "".join(digit + draw(SIGNS) for digit in text)


@pytest.mark.thorough
@settings(max_examples=500, deadline=None)
@given(text=numbers())
def test_the_fast_way_to_read_a_phone_says_what_the_library_says(text: str) -> None:
    assert plainly_valid(text) in (None, parsed(text, None))
    assert plainly_valid(text) in (None, parsed(text, "MY"))


def test_most_phones_go_the_fast_way() -> None:
    for text in ("+12025550101", "+60 12-345 6789", "+6281234567890", "+44 20 7946 0958", "+919876543210"):
        assert plainly_valid(text) is not None


def test_region_is_the_country_of_national_numbers(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone\n012-345 6789\n")
    imported(seqdev, file, user, "--device", host.device(user), "--region", "my")
    assert [row.phone for row in leads(host)] == ["60123456789"]
    assert "--region cannot be 'xx': no such region" in usage_error(
        seqdev, file, user, "--device", host.device(user), "--region", "xx"
    )


REJECTED = {
    2: ("bad_phone", b"123,Ana,,,"),
    3: ("missing_phone", b" ,Ana,,,"),
    5: ("duplicate_phone", b"+1 202 555 0101,Bo,,,"),
    6: ("too_long", b"12025550103," + b"x" * 256 + b",,,"),
    7: ("too_long", b'12025550104,,,"' + b"WARM%d," * 150 + b'",'),
    8: ("bad_text", b"12025550105,An\x00a,,,"),
    9: ("bad_text", b"12025550106,An\xff,,,"),
    10: ("bad_text", b"12025550107,An\xed\xa0\x80,,,"),
    11: ("wrong_columns", b"12025550108,Ana,,,,more"),
    12: ("unknown_device", b"12025550109,Ana,,,nowhere"),
    13: ("device_of_other_user", b"12025550110,Ana,,,theirs"),
    14: ("ambiguous_device", b"12025550111,Ana,,,twin"),
    15: ("duplicate_phone", b"12025550109,Ana,,,"),
}


def write_rejected(host: Host, file: Path) -> tuple[UUID, UUID]:
    """A file with one good line, and a line for every reason; the user, and a device."""
    user, other = host.user(), host.user()
    device = host.device(user, "mine")
    host.device(other, "theirs")
    host.device(user, "twin")
    host.device(user, "twin")
    lines = {number: line for number, (_, line) in REJECTED.items()} | {
        1: b"phone,name,niche,trigger,device",
        4: b"12025550101,=Good,,,",
    }
    lines[7] = lines[7].replace(b"WARM%d", b"WARM%06d") % tuple(range(150))
    file.write_bytes(b"\n".join(line for _, line in sorted(lines.items())) + b"\n")
    return user, device


def test_one_rejected_line_and_nothing_is_imported(host: Host, seqdev: Cli, file: Path) -> None:
    user, device = write_rejected(host, file)
    expected = [(line, reason) for line, (reason, _) in REJECTED.items()]
    assert refused(seqdev, file, user, "--device", device) == expected
    assert refused(seqdev, file, user, "--device", device, "--dry-run") == expected
    assert leads(host) == []
    _, out = load(seqdev, file, user, "--device", device)
    assert out["import"]["reasons"] == Counter(reason for reason, _ in REJECTED.values())
    assert {one["line"]: one["of_line"] for one in out["rejected"] if one["of_line"]} == {5: 4, 15: 12}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_rejected_lines_go_to_the_file_and_the_others_are_imported(
    host: Host, seqdev: Cli, file: Path, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    user, device = write_rejected(host, file)
    rejects = tmp_path / "rejects.csv"
    rejects.write_text("old")
    ran, out = load(seqdev, file, user, "--device", device, "--rejects", rejects, *dry)
    assert ran.code == 3
    assert ran.err == f"seqdev: {len(REJECTED)} lines rejected: see {rejects}\n"
    assert (out["import"]["imported"], out["import"]["rejected"]) == (1, len(REJECTED))
    assert [row.name for row in leads(host)] == ([] if dry else ["=Good"])
    with rejects.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["line", "reason", "phone", "name", "niche", "trigger", "device"]
    assert [(int(row[0]), row[1].split()[0]) for row in rows] == [
        (line, reason) for line, (reason, _) in REJECTED.items()
    ]
    assert rows[2][1:4] == ["duplicate_phone of line 4", "'+1 202 555 0101", "Bo"]
    assert rows[5][3] == "'An\\x00a"
    assert rejects.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == [file.name, rejects.name]


def test_the_rejects_file_corrected_can_be_imported(
    host: Host, seqdev: Cli, file: Path, tmp_path: Path
) -> None:
    user = host.user()
    file.write_text("phone,name,device\n+1 202 555 0101,Ana,d2\n")
    rejects = tmp_path / "rejects.csv"
    load(seqdev, file, user, "--rejects", rejects)
    device = host.device(user, "d2")
    ran, _ = load(seqdev, rejects, user)
    assert ran.code == 0
    assert leads(host) == [("12025550101", "Ana", None, None, device)]


def test_a_rejects_file_without_rejected_lines_replaces_an_old_one(
    host: Host, seqdev: Cli, file: Path, tmp_path: Path
) -> None:
    user = host.user()
    file.write_text("phone\n12025550101\n")
    rejects = tmp_path / "rejects.csv"
    rejects.write_text("old")
    imported(seqdev, file, user, "--device", host.device(user), "--rejects", rejects)
    assert rejects.read_text() == "line,reason,phone\n"


def test_a_rejects_file_that_is_a_link_is_written_where_it_points(
    host: Host, seqdev: Cli, file: Path, tmp_path: Path
) -> None:
    user = host.user()
    file.write_text("phone\n12025550101\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "rejects.csv")
    imported(seqdev, file, user, "--device", host.device(user), "--rejects", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "rejects.csv").read_text() == "line,reason,phone\n"


@pytest.mark.parametrize("name", ["missing/rejects.csv", ".", "leads.csv"])
def test_a_rejects_file_that_cannot_be_written_is_found_out_before_the_work(
    host: Host, seqdev: Cli, file: Path, tmp_path: Path, name: str
) -> None:
    user = host.user()
    file.write_text("phone\n12025550101\n")
    usage_error(seqdev, file, user, "--device", host.device(user), "--rejects", tmp_path / name)
    assert leads(host) == []
    assert os.listdir(tmp_path) == [file.name]
    assert file.read_text() == "phone\n12025550101\n"


def test_only_20_rejected_lines_are_listed_and_that_is_said(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone,name\n" + "x,y\n" * 30)
    assert refused(seqdev, file, user, "--device", host.device(user)) == [
        (line, "bad_phone") for line in range(2, 22)
    ]
    ran, _ = load(seqdev, file, user, "--device", host.device(user))
    assert "30 of 30 lines rejected" in ran.err
    assert "20 of them are listed" in ran.err


def test_rejected_lines_are_listed_in_the_table_without_phones(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone\n12025550101\n12025550101\n5550199\n")
    ran = seqdev("leads", "import", str(file), "--user", str(user), "--device", str(host.device(user)))
    assert ran.code == 3
    assert "duplicate_phone" in ran.out
    assert "bad_phone 1, duplicate_phone 1" in ran.out
    assert "12025550101" not in ran.out + ran.err
    assert "5550199" not in ran.out + ran.err


def test_a_line_with_fewer_cells_than_headers_is_taken(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone,name,niche\n12025550101\n")
    imported(seqdev, file, user, "--device", host.device(user))
    assert [row[:2] for row in leads(host)] == [("12025550101", None)]


def test_the_widths_are_those_of_the_hosts_columns(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    host.rows("alter table leads alter column name type text, alter column niche type varchar(3)")
    file.write_text(f"phone,name,niche\n12025550101,{'x' * 9999},äöü\n12025550102,,abcd\n")
    assert refused(seqdev, file, user, "--device", host.device(user)) == [(3, "too_long")]


def test_a_list_of_triggers_that_would_grow_too_long_is_rejected(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    device = host.device(user)
    host.lead(user, device, "12025550101", "x" * 999)
    file.write_text("phone,trigger\n12025550101,WARM\n")
    assert refused(seqdev, file, user, "--device", device, "--existing", "update") == [(2, "too_long")]
    assert imported(seqdev, file, user, "--device", device)["skipped"] == 1


def test_empty_cells_fit_columns_that_must_not_be_null(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    host.rows("alter table leads alter column name set not null, alter column trigger set not null")
    file.write_text("phone\n12025550101\n")
    imported(seqdev, file, user, "--device", host.device(user))
    assert [row[1:4] for row in leads(host)] == [("", None, "")]


def test_a_phone_may_belong_to_two_users(host: Host, seqdev: Cli, file: Path) -> None:
    user, other = host.user(), host.user()
    theirs = host.lead(other, host.device(other), "12025550101", "WARM", "Theirs")
    file.write_text("phone,name,trigger\n12025550101,Mine,COLD\n")
    device = host.device(user)
    for existing in ("skip", "update"):
        imported(seqdev, file, user, "--device", device, "--existing", existing)
    assert host.rows("select name, trigger from leads where id = %s", theirs) == [("Theirs", "WARM")]
    assert host.rows("select name, trigger, device_id from leads where user_id = %s", user) == [
        ("Mine", "COLD", device)
    ]


def versions(host: Host) -> dict[str, Any]:
    """The row version of every lead, which any write changes."""
    return dict(host.rows("select phone, (xmin::text, ctid::text) from leads"))


def test_existing_leads_are_skipped_unless_asked_otherwise(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    device = host.device(user)
    host.lead(user, None, "12025550101", "WARM", "Old")
    before = versions(host)
    file.write_text("phone,name,trigger\n12025550101,New,COLD\n12025550102,Bo,\n")
    summary = imported(seqdev, file, user, "--device", device)
    assert (summary["imported"], summary["updated"], summary["skipped"]) == (1, 0, 1)
    assert versions(host)["12025550101"] == before["12025550101"]


def test_update_replaces_what_the_file_has_adds_triggers_and_never_changes_the_owner(
    host: Host, seqdev: Cli, file: Path
) -> None:
    user = host.user()
    device, other = host.device(user), host.device(user, "other")
    host.lead(user, other, "12025550101", "WARM, COLD", "Old")
    host.lead(user, None, "12025550102", None, "Old")
    host.lead(user, other, "12025550103", "WARM", "Same")
    host.lead(user, other, "12025550104", "WARMEXAMA,", "Old")
    host.lead(user, None, "12025550106", "WARM", "Same")
    host.rows("update leads set niche = 'old'")
    before = versions(host)
    file.write_text(
        "phone,name,niche,trigger,device\n"
        '12025550101,New,,"COLD,HOT",\n'
        "12025550102,,new,,other\n"
        "12025550103,Same,old,WARM,\n"
        "12025550104,,,WARM,\n"
        "12025550105,Fresh,,,\n"
        "12025550106,Same,,WARM,\n"
    )
    options = ("--device", device, "--existing", "update")
    dry = imported(seqdev, file, user, *options, "--dry-run")
    assert versions(host) == before
    summary = imported(seqdev, file, user, *options)
    for count in ("read", "imported", "updated", "unchanged", "skipped", "rejected"):
        assert dry[count] == summary[count]
    assert (summary["imported"], summary["updated"], summary["unchanged"]) == (1, 4, 1)
    assert leads(host) == [
        ("12025550101", "New", "old", "WARM, COLD,HOT", other),
        ("12025550102", "Old", "new", None, other),
        ("12025550103", "Same", "old", "WARM", other),
        ("12025550104", "Old", "old", "WARMEXAMA,WARM", other),
        ("12025550105", "Fresh", None, None, device),
        ("12025550106", "Same", "old", "WARM", device),
    ]
    assert versions(host)["12025550103"] == before["12025550103"]
    again = imported(seqdev, file, user, *options)
    assert (again["imported"], again["updated"], again["unchanged"]) == (0, 0, 6)


def test_the_device_of_the_line_wins_by_name_or_id(host: Host, seqdev: Cli, file: Path) -> None:
    user, stranger = host.user(), host.user()
    first, second, third = host.device(user, "one"), host.device(user, "two"), host.device(user)
    host.device(stranger, "one")
    file.write_text(
        f"phone,device\n12025550101,one\n12025550102,{str(second).upper()}\n12025550103,\n", encoding="utf-8"
    )
    imported(seqdev, file, user, "--device", third)
    assert [row.device_id for row in leads(host)] == [first, second, third]


def test_every_lead_needs_a_device(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    host.device(user, "one")
    file.write_text("phone\n12025550101\n")
    assert "no device for the leads" in usage_error(seqdev, file, user)
    file.write_text("phone,device\n12025550101,one\n12025550102,\n")
    assert refused(seqdev, file, user) == [(3, "no_device")]


def test_device_and_distribute_exclude_each_other(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone\n12025550101\n")
    assert "exclude each other" in usage_error(
        seqdev, file, user, "--device", host.device(user), "--distribute"
    )


def test_a_device_of_another_user_is_refused(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    file.write_text("phone\n12025550101\n")
    theirs = host.device(host.user())
    assert "no device" in usage_error(seqdev, file, user, "--device", theirs)
    file.write_text(f"phone,device\n12025550101,{theirs}\n")
    assert refused(seqdev, file, user) == [(2, "device_of_other_user")]


def owned(host: Host, devices: list[UUID]) -> list[int]:
    counts = dict(host.rows("select device_id, count(*) from leads group by device_id"))
    return [counts.get(device, 0) for device in devices]


def give(host: Host, user: UUID, device: UUID, people: int) -> None:
    """Leads that the device owns already."""
    host.rows(
        "insert into leads (user_id, device_id, phone) select %s, %s, gen_random_uuid()"
        " from generate_series(1, %s)",
        user,
        device,
        people,
    )


def even(counts: list[int], people: int) -> list[int]:
    """One by one to whoever has the fewest: what an even distribution is by definition."""
    counts = list(counts)
    for _ in range(people):
        counts[counts.index(min(counts))] += 1
    return sorted(counts)


@pytest.mark.thorough
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    named=st.integers(0, 5),
    people=st.integers(0, 40),
)
def test_distribute_makes_the_numbers_as_even_as_can_be(
    host: Host, seqdev: Cli, tmp_path: Path, counts: list[int], named: int, people: int
) -> None:
    user = host.user()
    devices = [host.device(user) for _ in counts]
    for device, count in zip(devices, counts, strict=True):
        give(host, user, device, count)
    file = tmp_path / "leads.csv"
    # Some lines name a device: what it gets so counts too.
    lines = [f"{phone(number)},{devices[0]}" for number in range(named)]
    lines += [f"{phone(100 + number)}," for number in range(people)]
    file.write_text("\n".join(["phone,device", *lines]))
    imported(seqdev, file, user, "--distribute")
    assert sorted(owned(host, devices)) == even([counts[0] + named, *counts[1:]], people)


def test_distribute_is_the_same_each_time(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    devices = [host.device(user) for _ in range(3)]
    give(host, user, devices[0], 4)
    file.write_text("phone\n" + "".join(f"{phone(number)}\n" for number in range(20)))
    outcomes = []
    for _ in range(2):
        imported(seqdev, file, user, "--distribute")
        outcomes.append(host.rows("select phone, device_id from leads where phone like '1202%' order by 1"))
        host.rows("delete from leads where phone like '1202%'")
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 20


def test_distribute_leaves_banned_devices_out_and_says_so(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    devices = [
        host.device(user, "good"),
        host.device(user, "off", status="offline"),
        host.device(user, "ba\x1bd", status="banned"),
    ]
    host.device(host.user(), "stranger")
    file.write_text("phone\n" + "".join(f"{phone(number)}\n" for number in range(5)))
    ran, _ = load(seqdev, file, user, "--distribute")
    assert (ran.code, ran.err) == (0, "seqdev: device left out, its status is banned: ba\\x1bd\n")
    assert sorted(owned(host, devices)) == [0, 2, 3]
    assert owned(host, devices)[2] == 0


def test_distribute_without_a_device_is_wrong_usage(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    host.device(user, status="banned")
    file.write_text("phone\n12025550101\n")
    assert "no device to distribute to" in usage_error(seqdev, file, user, "--distribute")


def test_distribute_gives_no_device_to_who_has_one(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    full, empty = host.device(user), host.device(user)
    host.lead(user, full, phone(1))
    host.lead(user, None, phone(2))
    file.write_text(f"phone,name\n{phone(1)},New\n{phone(2)},New\n{phone(3)},New\n")
    imported(seqdev, file, user, "--distribute", "--existing", "update")
    assert owned(host, [full, empty]) == [1, 2]


def test_everything_or_nothing(host: Host, seqdev: Cli, file: Path, tmp_path: Path) -> None:
    user = host.user()
    device = host.device(user)
    host.lead(user, device, phone(0), "", "Old")
    host.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        f" if new.phone = '{phone(99)}' then raise exception 'not %', new.phone; end if; return new; end $$"
    )
    host.rows("create trigger refuse before insert on leads for each row execute function refuse()")
    file.write_text("phone,name\nbad,\n" + "".join(f"{phone(number)},New\n" for number in range(100)))
    ran, _ = load(
        seqdev, file, user, "--device", device, "--existing", "update", "--rejects", tmp_path / "rejects.csv"
    )
    assert (ran.code, ran.out) == (1, "")
    assert "1202" not in ran.err
    assert [(row.phone, row.name) for row in leads(host)] == [(phone(0), "Old")]
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.plain("no trigger can give a row the phone of another shard")
def test_a_lead_that_appears_meanwhile_is_counted_as_skipped(
    host: Host, seqdev: Cli, file: Path, database: str
) -> None:
    user = host.user()
    device = host.device(user)
    # In the middle of the import: when its first lead is inserted.
    host.rows(
        "create function meanwhile() returns trigger language plpgsql as $$ begin"
        f" if new.phone = '{phone(1)}' then new.phone = '{phone(2)}'; end if; return new; end $$"
    )
    host.rows("create trigger meanwhile before insert on leads for each row execute function meanwhile()")
    file.write_text(f"phone\n{phone(1)}\n{phone(2)}\n")
    summary = imported(seqdev, file, user, "--device", device)
    assert (summary["read"], summary["imported"], summary["skipped"]) == (2, 1, 1)


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    host.device(user)
    file.write_text(f"phone\n{phone(1)}\n{phone(2)}\n")
    runs = host.value("select count(*) from seqdev.run")
    dry = imported(seqdev, file, user, "--distribute", "--dry-run")
    assert leads(host) == []
    assert host.value("select count(*) from seqdev.run") == runs
    real = imported(seqdev, file, user, "--distribute")
    assert (dry.pop("run_id"), dry.pop("dry_run"), dry.pop("duration") >= 0) == (None, True, True)
    assert dry.items() <= real.items()


def test_no_table_of_the_import_is_left_behind(host: Host, seqdev: Cli, file: Path) -> None:
    user = host.user()
    device = host.device(user)
    host.rows("create table lead_line (line integer)")
    file.write_text(f"phone\n{phone(1)}\n")
    imported(seqdev, file, user, "--device", device)
    assert host.rows("select * from lead_line") == []


def test_an_import_refuses_a_schema_it_cannot_work_on(empty_database: str, seqdev: Cli, file: Path) -> None:
    file.write_text(f"phone\n{phone(1)}\n")
    ran, _ = load(seqdev, file, uuid4(), "--distribute")
    assert ran.code == 10


@pytest.mark.thorough
def test_the_statement_timeout_does_not_end_a_long_copy(host: Host) -> None:
    user = host.user()
    device = host.device(user)
    with subprocess.Popen(
        command("leads", "import", "-", "--user", str(user), "--device", str(device)),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | {"SEQDEV_STATEMENT_TIMEOUT": "1s"},
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(f"phone\n{phone(1)}\n")
        process.stdin.flush()
        copying = (
            "select count(*) from pg_stat_activity where query like '%leads/copy.sql%' and state = 'active'"
        )
        while process.poll() is None and not host.value(f"{copying} and pid <> pg_backend_pid()"):
            time.sleep(0.05)
        time.sleep(1.5)
        process.stdin.write(f"{phone(2)}\n")
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 0
    assert len(leads(host)) == 2


@pytest.mark.load
def test_memory_does_not_grow_with_the_file(host: Host, file: Path) -> None:
    user = host.user()
    device = host.device(user)
    program = (
        "import resource, sys; from seqdev.leads import file; from seqdev.cli import main;"
        # Reading phones takes nearly all of the time, and no memory.
        " file.phone_reader = lambda region: lambda text: text;"
        " code = main(sys.argv[1:]);"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )

    def peak(lines: int) -> int:
        with file.open("w") as out:
            out.write("phone,name\n")
            out.writelines(f"{phone(number)},{'x' * 250}\n" for number in range(lines))
        done = subprocess.run(
            [
                *(sys.executable, "-c", program, "leads", "import", str(file), "--user", str(user)),
                *("--device", str(device)),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0
        assert host.value("select count(*) from leads") == lines
        return int(done.stderr.split()[-1])

    small, large = peak(2_000), peak(200_000)
    assert large - small < 4_000
