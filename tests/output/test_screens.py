"""Every screen at every width: nothing wider than the terminal, no word broken, what decides there, what is not said."""

import pty
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rich.cells import cell_len
from typer.main import get_command

from seqdev.cli import COMMANDS, app, main
from seqdev.commands.help import TOPICS, fitted
from seqdev.output.columns import Aged, Named, Prose, Verdict
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, Writer, note
from seqdev.output.screen import Said
from seqdev.output.text import Phone
from seqdev.output.tones import Tone
from seqdev.output.typed import COMMAND, NAMES
from seqdev.output.words import Clock, duration, sparkline
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.hostile import HOSTILE
from tests.world.screen import on_screen

LONG = "Verkaufsabteilung-Süd-Ersatzgerät-Nummer-2 im Büro"
STORED = HOSTILE.replace("\0", "")
WIDE = "温かいデバイスの名前がとても長いので困ります"

SCREENS = {
    "audit all": ["severity", "found"],
    "audit mismatches": ["cause", "state", "severity"],
    "audit mismatches --matches": ["verdict", "cause", "state"],
    "audit devices": ["trouble", "status"],
    "audit contacts": ["finding", "status", "severity"],
    "audit sequences": ["finding"],
    "audit leads": ["finding"],
    "audit collisions": ["finding"],
    "audit writers": ["finding", "status"],
    "audit failed": ["finding"],
    "audit all --at 1s": ["severity", "found", "what"],
    "audit contacts --at 1s": ["finding", "status", "severity", "what"],
    "audit collisions --at 1s": ["finding", "severity"],
    "top --once": ["state", "due"],
    "top --limit 1": ["state", "due"],
    "block add 60129999998 --why again --dry-run": ["why"],
    "stats --by device,status": ["sent", "failed"],
    "config show": ["value", "origin"],
    "audit devices --if-lost lost": ["status", "fits"],
    "explain 60120000001": ["answer", "status"],
    "explain 60120000004": ["answer", "status"],
    "explain 60120000006": ["answer", "to do"],
    "explain 9990120000000": ["phone"],
    "tick --dry-run --policy strict": ["decision", "contacts"],
    "tick --compare": ["policy", "queued"],
    "enroll --dry-run": ["sequence", "enrolled", "reason"],
    "forecast --with policy=strict --with max_per_day=1": ["device", "reason"],
    "repair device lost --spread --dry-run": ["why"],
    "repair assigned --dry-run": ["why"],
    "repair list": ["state"],
    "repair show RUN": ["column", "new"],
    "runs": ["state"],
    "runs RUN": ["state"],
    "runs --every 1m": ["missed"],
    "rules list": ["value"],
    "rules history": ["new value"],
    "rules set policy strict --dry-run": ["new value"],
    "block list": ["phone", "since"],
    "db check --ok": ["item", "status"],
    "db check --no-probe": ["item", "status"],
}
"""The screens, and titles that each of them has to show whatever its width."""


@dataclass(frozen=True)
class Trouble:
    """A database with something for each screen, and a run of it that has changed rows."""

    run: str

    def words(self, screen: str) -> list[str]:
        return [self.run if word == "RUN" else word for word in screen.split()]


@pytest.fixture
def trouble(host: Host, seqdev: Cli) -> Trouble:
    user = host.user()
    a, b, lost = (host.device(user, name) for name in (LONG, WIDE, "lost"))
    host.device(user, STORED)
    sequence, steps = host.simple_sequence(user, steps=3)
    host.step(sequence, 9, "NOWHERE", "NOBODY-LISTENS-TO-THIS-TRIGGER-OF-A-LONG-NAME", is_entry_point=False)
    host.rows("update sequences set name = 'warm ' || %s where id = %s", STORED, sequence)
    for number in range(9):
        owner = (a, b, lost)[number % 3] if number < 6 else None
        host.lead(user, owner, f"6012000000{number}", "WARM", name=STORED + WIDE)
    assert seqdev("enroll", "--yes").code == 3
    host.rows("update user_devices set status = 'banned' where id = %s", lost)
    assert seqdev("tick", "--policy", "fallback").code == 0
    for phone, from_sequence in (("60120000000", sequence), ("60120000001", None)):
        host.rows(
            "insert into broadcast_messages (id, user_id, device_id, sequence_id, recipient_phone, status, created_at)"
            " values (gen_random_uuid(), %s, %s, %s, %s, 'sent', now() at time zone 'UTC')",
            user, b, from_sequence, phone,
        )  # fmt: skip
    # A second ago they were there, however fast the machine.
    host.rows("update broadcast_messages set created_at = created_at - interval '2 seconds'")
    host.rows("delete from broadcast_messages where recipient_phone = '60120000003'")
    host.rows(
        "update broadcast_messages set status = 'failed', error_message = %s where recipient_phone = '60120000004'",
        "Device offline: " + "x" * 90,
    )
    host.contact(sequence, steps[2], "60120000005", lost)
    host.contact(sequence, steps[1], "60120000006", None)
    host.contact(sequence, steps[1], "60120000009", lost)
    host.make_all_due()
    assert seqdev("block", "add", "60129999999", "--why", f"asked {LONG}", "--yes").code in (0, 3)
    assert seqdev("rules", "set", "max_per_hour", "40", "--device", WIDE, "--why", LONG, "--yes").code == 0
    assert seqdev("repair", "device", "lost", "--spread", "--max", "1", "--yes").code in (0, 3)
    host.rows("update seqdev.run set started_at = started_at - interval '2 hours'")
    return Trouble(str(host.value("select run_id from seqdev.change limit 1")))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def titles(text: str) -> set[str]:
    """The titles of the columns, as a terminal without bounds shows them in one line."""
    lines = text.split("\n")
    return {
        re.sub(r" \(.*\)$", "", title)
        for above, rule in pairwise(lines)
        if rule and not rule.strip("─ ")
        for title in re.split(" {2,}", above.strip())
    }


CHANGES = re.compile(r"[\d:.,+()-]+|ago,?|in|now|ms|s|min|h|d")
"""What differs between two runs, and is no text: numbers and ages."""


JOINT = re.compile(r"(?<=[/,.])(?=[^/,.])")
"""Where a path, a list or a dotted name may go on in the next line."""


def broken(shown: str, whole: str) -> Iterator[str]:
    """Words of a narrow screen that are none of the whole one, nor a declared short form of one."""
    known = {one for word in whole.split() for one in (word, word.rstrip(",;:."))}
    joined = {part for word in known for part in JOINT.split(word)}
    for word in shown.split():
        if (
            word in known
            or joined.issuperset(JOINT.split(word))
            or CHANGES.fullmatch(word)
            or not word.strip("─")
        ):
            continue
        begin = word.removesuffix("…")
        if begin != word and any(one.startswith(begin) for one in known | joined):
            continue
        if re.fullmatch("[0-9a-f]{8}", word) and any(one.startswith(word) for one in known):
            continue
        if re.fullmatch(r"[A-Z][a-z]{2}|\[\d+\]", word.rstrip(",;:.")):  # a month; a command below the table
            continue
        yield word


@dataclass
class Seen:
    """A screen without bounds, and what it is made of."""

    whole: str
    written: list[tuple[Writer, list[Table | Said]]]

    def at(self, width: int) -> str:
        """The same on a terminal of ``width``."""

        def again() -> None:
            for writer, parts in self.written:
                writer.write(*parts)

        return plain(on_screen(width, again))


def seen(words: list[str]) -> Seen:
    """A command run once, on a terminal that is wide enough for everything."""
    written: list[tuple[Writer, list[Table | Said]]] = []
    write = Writer.write

    def kept(writer: Writer, *parts: Table | Said) -> None:
        listed = [replace(one, rows=list(one.rows)) if isinstance(one, Table) else one for one in parts]
        written.append((writer, listed))
        write(writer, *listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "write", kept)
        return Seen(plain(on_screen(10_000, lambda: main(words))), written)


def test_every_screen_fits_keeps_what_decides_breaks_no_word_and_says_once_what_it_drops(
    trouble: Trouble, capfd: pytest.CaptureFixture[str]
) -> None:
    for screen, decide in SCREENS.items():
        one = seen(trouble.words(screen))
        for title in decide:
            assert title in titles(one.whole) or re.search(f"^{title} ", one.whole, re.M), (screen, title)
        for width in (60, 80, 120, 200):
            capfd.readouterr()
            shown = one.at(width)
            said = capfd.readouterr().err
            words = set(shown.split())
            assert [line for line in shown.split("\n") if cell_len(line) > width] == [], screen
            assert list(broken(shown, one.whole)) == [], (screen, width)
            assert [title for title in decide if not set(title.split()) <= words] == [], (screen, width)
            lost = [title for title in titles(one.whole) if not set(title.split()) <= words]
            assert said.count("no room for") <= 1, (screen, width, said)
            assert [title for title in lost if title not in said] == [], (screen, width, said)
            assert "…" in one.whole or ("…" in said) == ("…" in shown), (screen, width)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_help_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "cat")
    whole = set(plain(on_screen(10_000, lambda: main(["help"]))).split())
    shown = plain(on_screen(width, lambda: main(["help"])))
    assert set(shown.split()) == whole
    for page in (shown, plain(on_screen(width, lambda: main(["help", "exit-codes"])))):
        assert [line for line in page.split("\n") if cell_len(line) > width] == []


def test_a_terminal_has_colours_that_no_color_takes_away_and_force_color_gives_a_pipe(
    trouble: Trouble, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unable in ("", "dumb"):
        monkeypatch.setenv("TERM", unable)
        assert "\x1b" not in on_screen(120, lambda: main(["audit", "contacts"]))
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[1;31mcritical\x1b[0m" in on_screen(120, lambda: main(["audit", "contacts"]))
    piped = seqdev("audit", "contacts").out
    assert "\x1b" not in piped
    monkeypatch.setenv("FORCE_COLOR", "1")
    forced = seqdev("audit", "contacts").out
    assert "\x1b[1;31mcritical\x1b[0m" in forced
    assert max(map(len, plain(forced).splitlines())) > 120, "a pipe is never too narrow"
    monkeypatch.setenv("NO_COLOR", "1")
    for output in (seqdev("audit", "contacts").out, on_screen(120, lambda: main(["audit", "contacts"]))):
        assert "critical" in output
        assert "\x1b" not in output


def test_no_colour_is_one_that_a_white_or_a_black_background_swallows() -> None:
    colours = {code for one in Tone for code in one.split(";")}
    pale_on_white, dark_on_black = {"33", "36", "37", "93", "97"}, {"30", "34"}
    assert not colours & (pale_on_white | dark_on_black)


@pytest.mark.thorough
def test_a_pipe_gets_every_column_whole(trouble: Trouble, seqdev: Cli) -> None:
    for screen in SCREENS:
        ran = seqdev(*trouble.words(screen))
        assert not set("\x1b─") & set(ran.out), screen
        assert "no room for" not in ran.err, screen
    assert f"{LONG} " in seqdev("audit", "devices").out
    assert WIDE in seqdev("audit", "devices").out


def test_a_banned_device_is_never_to_be_brought_back(trouble: Trouble) -> None:
    phones = ("60120000002", "60120000005", "60120000009")
    told = " ".join(on_screen(500, lambda: [main(["explain", phone]) for phone in phones]).split())
    assert "OFFLINE" not in told
    assert "bring the device back" not in told
    assert "BANNED: it does not come back" in told


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("zone", "told"),
    [("UTC", "(UTC)"), ("Asia/Kuala_Lumpur", "(UTC+8)"), ("Asia/Kolkata", "(UTC+5:30)")],
)
def test_each_table_says_its_zone_once_and_json_stays_as_it_is(
    trouble: Trouble, seqdev: Cli, zone: str, told: str
) -> None:
    # That of the writers has a table of sessions too.
    for audit, tables in (("contacts", 1), ("mismatches", 1), ("writers", 2)):
        out = seqdev("--zone", zone, "audit", audit).out
        assert out.count("(UTC") == out.count(told) == tables
    as_json = [
        seqdev(*zone_, "audit", "mismatches", "--format", "json").out for zone_ in ((), ("--zone", zone))
    ]
    assert as_json[0] == as_json[1]


def test_a_zone_that_is_none_is_wrong_usage_before_anything_is_done(host: Host, seqdev: Cli) -> None:
    ran = seqdev("--zone", "Mars/Olympus", "tick")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("seqdev: there is no time zone 'Mars/Olympus'\n")
    assert host.value("select count(*) from seqdev.run") == 0


@dataclass(frozen=True)
class Line:
    number: int


@pytest.mark.parametrize(("rows", "paged"), [(10, False), (60, True)])
def test_only_what_is_longer_than_the_terminal_goes_through_the_pager(
    rows: int, paged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho through the pager\ncat\n")
    pager.chmod(0o755)
    monkeypatch.setenv("PAGER", f"'{pager}' -x")
    writer = Writer(Format.TABLE, pages=True)
    table = Table("lines", Line, [Line(number) for number in range(rows)])
    _, terminal = pty.openpty()
    with open(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        shown = plain(on_screen(80, lambda: writer.write(table)))
    assert shown.startswith("through the pager\n") is paged
    assert shown.count("\n") == rows + 2 + paged


def test_a_pipe_never_meets_a_pager(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGER", "false")
    Writer(Format.TABLE, pages=True).write(Table("lines", Line, [Line(number) for number in range(200)]))
    assert capsys.readouterr().out.count("\n") == 202


def test_a_sparkline_has_a_character_a_value_and_none_beyond_ascii_where_there_is_none() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▂▅█"
    assert sparkline([0, 1, 4, 8], unicode=False) == " .=#"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "  "


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.684, "684 ms"),
        (6.24, "6.2 s"),
        (45, "45 s"),
        (245, "4 min 5 s"),
        (3599, "59 min"),
        (7440, "2 h 4 min"),
        (273_600, "3 d 4 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_a_duration_has_its_units(seconds: float, told: str) -> None:
    assert duration(timedelta(seconds=seconds)) == told


@dataclass(frozen=True)
class Crowded:
    phone: Phone
    device: Named
    at: datetime
    why: Prose
    messages: int
    verdict: Verdict


def test_other_columns_give_way_to_one_that_decides_wherever_it_stands(
    capfd: pytest.CaptureFixture[str],
) -> None:
    row = Crowded(
        Phone("60123456789"),
        Named(LONG, UUID(int=1)),
        datetime.now(UTC),
        LONG,
        12_345,
        "device_of_other_user",
    )
    shown = plain(on_screen(45, lambda: Writer(Format.TABLE).write(Table("rows", Crowded, [row]))))
    assert "60123456789" in shown
    assert "device_of_other_user" in shown
    assert capfd.readouterr().err.replace("\n  ", " ").startswith("seqdev: no room for device, why")


@dataclass(frozen=True)
class Devices:
    device: Named
    why: Verdict


@dataclass(frozen=True)
class Many:
    device: Named
    status: Verdict
    first: int
    second: int
    third: int
    seen: str


def test_what_a_row_is_about_stands_in_one_line_before_the_last_columns_do() -> None:
    names = ("Ipoh Support 010", "Ipoh Support 020")
    rows = [Many(Named(name, UUID(int=n)), "online", 1, 2, 3, "yesterday") for n, name in enumerate(names)]
    shown = plain(on_screen(56, lambda: Writer(Format.TABLE).write(Table("rows", Many, rows))))
    assert [name for name in names if name not in shown] == [], shown
    assert "yesterday" not in shown


@dataclass(frozen=True)
class Counts:
    waiting: dict[str, int]
    reason: str | None


def test_a_device_without_a_name_is_not_taken_for_one_that_is_gone() -> None:
    named = [Named(name, UUID(int=number + 1)) for number, name in enumerate(("", " ", None, "A"))]
    rows = [Devices(one, "open") for one in named]
    shown = plain(on_screen(60, lambda: Writer(Format.TABLE).write(Table("rows", Devices, rows))))
    begins = [re.split(" [0-9-]{8}", line)[0].split("  ")[0] for line in shown.splitlines()[-4:]]
    assert begins == ["(no name)", "(no name)", "(gone)", "A"]
    assert str(named[0]).startswith("(no name) 00000000")


def test_a_line_with_nothing_to_say_says_so() -> None:
    shown = on_screen(
        60, lambda: Writer(Format.TABLE).write(Table("rows", Counts, [Counts({}, None)], single=True))
    )
    assert re.search("^waiting +none$", plain(shown), re.M), shown
    assert "reason" not in shown, "what is not known is left out"


def test_an_instant_in_a_plan_reads_as_one(host: Host, seqdev: Cli) -> None:
    ran = seqdev("--zone", "Asia/Kolkata", "block", "add", "60129999998", "--why", "again", "--dry-run")
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC\+5:30, blocked by ", ran.out), ran.out
    ran = seqdev("block", "add", "60129999998", "--why", "again", "--dry-run", "--format", "json")
    assert re.search(r'"since": ?"\d{4}-\d\d-\d\dT', ran.out), "programs get what is written"
    assert "1 row of 1 phone would change" in ran.err


def test_what_goes_on_in_the_next_line_begins_below_what_it_belongs_to() -> None:
    said = Said(["backlog      " + "nine words " * 9], indent=13)
    lines = plain(on_screen(60, lambda: Writer(Format.TABLE).write(said))).splitlines()
    assert len(lines) > 1
    assert {line[:13] for line in lines[1:]} == {" " * 13}
    assert all(line[13] != " " and len(line) <= 60 for line in lines)


def test_help_brings_no_background_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "cat")
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = on_screen(80, lambda: main(["help", "incident"]))
    codes = {code for codes in re.findall(r"\x1b\[([\d;]*)m", shown) for code in codes.split(";")}
    assert "1" in codes, "it is laid out"
    assert not codes & {"48", *map(str, range(40, 48)), *map(str, range(100, 108))}, codes


@dataclass(frozen=True)
class Advised:
    finding: Verdict
    repair: Prose


def test_a_command_stands_in_one_line_of_a_table_a_sentence_and_a_note(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    typed = "seqdev repair device DEVICE --spread --queue"
    text = f"move its people, as it is gone: {typed}"
    written = (Said([text]), Table("rows", Advised, [Advised("gone", text)]))
    for width in (60, 80):
        shown = plain(on_screen(width, lambda: Writer(Format.TABLE).write(*written)))
        assert shown.count(typed) == 2, shown
    # Where no cell has room for it, it stands below the table, once and as it is typed, however wide that is.
    twice = [Advised("gone", f"{text}, now"), Advised("banned", text)]
    shown = plain(on_screen(40, lambda: Writer(Format.TABLE).write(Table("rows", Advised, twice))))
    assert shown.splitlines()[-1] == f"[1] {typed}"
    cells = " ".join(shown.split())
    assert "gone: [1], now" in cells, shown
    assert cells.count("[1]") == 3, shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    for text in (
        "see what is missing, and run seqdev db upgrade now",
        "it cannot be: seqdev cannot work here yet",
    ):
        note(f"commands that write refuse {text}: {'x' * 30}")
    said = capfd.readouterr().err
    assert "seqdev db upgrade" in said
    assert [line for line in said.splitlines() if len(line) > 60] == []


def test_what_is_missing_is_a_line_each_and_its_statements_are_where_they_are_whole(
    host: Host, seqdev: Cli, capfd: pytest.CaptureFixture[str]
) -> None:
    host.rows("drop schema seqdev cascade")
    shown = plain(on_screen(80, lambda: main(["db", "check"])))
    assert re.search(r"^seqdev\.run +missing .* create table$", shown, re.M), shown
    assert "uuid" not in shown
    assert "the statements of the remedies: seqdev db upgrade --sql" in " ".join(
        capfd.readouterr().err.split()
    )
    assert "create table if not exists seqdev.run (id uuid" in seqdev("db", "upgrade", "--sql").out
    assert "create table if not exists seqdev.run (id uuid" in seqdev("db", "check", "--format", "json").out


def test_no_word_is_cut_where_the_next_column_has_room(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    user = host.user()
    sequence, _ = host.simple_sequence(user, "WARM Sequence 0 of them")
    host.rule("paused", "until resumed: holiday", sequence=sequence)
    host.rule("policy", "strict", user=user)
    monkeypatch.setenv("SEQDEV_STATEMENT_TIMEOUT", "3m")
    shown = plain(on_screen(80, lambda: main(["config", "show"])))
    assert "SEQDEV_STATEMENT_TIMEOUT" in shown
    assert re.search(rf"^policy +strict .* user\n +{str(user)[:8]}$", shown, re.M), shown


def test_every_command_is_known_as_one() -> None:
    assert set(NAMES.split("|")) == set(COMMANDS)
    root: Any = get_command(app)
    for name in COMMANDS:
        for below in getattr(root.get_command(None, name), "commands", {}):
            assert COMMAND.fullmatch(f"seqdev {name} {below}"), f"{name} {below}"


@dataclass(frozen=True)
class Person:
    phone: Phone
    devices: str
    messages: int
    last_at: Aged
    state: Verdict


def test_of_an_instant_the_time_is_enough_where_texts_would_take_many_lines() -> None:
    now = datetime(2026, 11, 28, 14, tzinfo=UTC)
    devices = "KL Sales 060 9717530f, KL Support 036 fe8e9c87"
    row = Person(Phone("60123456789"), devices, 1, now - timedelta(minutes=32), "open")
    writer = Writer(Format.TABLE, clock=Clock(UTC, lambda: now))
    shown = plain(on_screen(80, lambda: writer.write(Table("rows", Person, [row]))))
    assert "13:28, 32 min ago" in shown
    assert "Nov 28" not in shown
    assert "KL Sales 060 9717530f," in shown


def test_a_list_in_a_sentence_stays_indented() -> None:
    shown = plain(on_screen(40, lambda: Writer(Format.TABLE).write(Said(["  12: " + "word " * 12]))))
    assert [len(line) - len(line.lstrip()) for line in shown.splitlines()] == [2, 4]


@pytest.mark.thorough
@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_topic_is_laid_out_in_no_colour_and_its_screens_are_cut_and_that_said(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", "cat")
    monkeypatch.setenv("TERM", "xterm-256color")
    for topic in TOPICS:
        shown = on_screen(width, lambda: main(["help", topic]))  # noqa: B023 (called at once)
        codes = {code for codes in re.findall(r"\x1b\[([\d;]*)m", shown) for code in codes.split(";")}
        assert codes <= {"0", "1", "2", "3", "4"}, (topic, codes)
        lines = plain(shown).splitlines()
        assert [line for line in lines if cell_len(line) > width] == [], topic
        if any(line.rstrip().endswith("…") for line in lines):
            assert "… stands for what is cut: widen the terminal." in plain(shown), topic


def test_a_command_of_a_topic_can_be_copied_from_a_narrow_terminal() -> None:
    page = "```sh\n$ seqdev rules set max_per_hour 40 --device alice-1    # for one device\n```\n"
    shown = fitted(page, 30)
    assert shown.splitlines() == [
        "```",
        *("# for one device", "$ seqdev rules set \\", "  max_per_hour 40 --device \\", "  alice-1"),
        "```",
    ]


@pytest.mark.parametrize("words", [["repair", "assigned"], ["repair", "failed"], ["tick"], []])
def test_help_breaks_no_word_at_its_hyphens_and_no_option_is_wider(
    words: list[str], monkeypatch: pytest.MonkeyPatch, seqdev: Cli
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = seqdev(*words, "--help").out
    assert "--" in shown
    assert [line for line in shown.splitlines() if len(line) > 60 or re.search(r"\w-$", line)] == []


def test_the_clock_of_long_work_is_in_no_colour_that_white_swallows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")

    def work() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", sys.stdout)
            with progress("leads") as done:
                done(1)

    shown = on_screen(80, work)
    assert "leads" in shown
    assert not set(re.findall(r"\x1b\[([\d;]*)m", shown)) & {"33", "36", "93", "96"}


def test_the_journal_shows_instants_as_all_else_does_and_a_stop_says_so_once(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.simple_sequence(user, steps=2)
    host.lead(user, host.device(user, "A"), "60120000001", "WARM")
    assert seqdev("enroll", "--yes").code == 0
    assert seqdev("block", "add", "60129999999", "--why", "asked", "--yes").code == 0
    shown = seqdev("--zone", "Asia/Kolkata", "repair", "show", "last").out
    assert re.search(r"since +\d{4}-\d\d-\d\d \d\d:\d\d UTC\+5:30", shown), shown
    assert seqdev("contacts", "stop", "60120000001", "--why", "asked", "--yes").code == 0
    assert "  stopped: asked  " in seqdev("explain", "60120000001").out


def test_a_comparison_of_nothing_says_so(host: Host, seqdev: Cli) -> None:
    assert seqdev("tick", "--compare").err.endswith("nothing is due\n")


def test_a_finding_is_as_bad_as_it_says_beside_it(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = on_screen(120, lambda: main(["audit", "contacts"]))
    found = shown[shown.index("\x1b[1mfound\x1b[0m\n") :]
    assert re.search(r"\x1b\[1;31mno_device\x1b\[0m +\x1b\[1;31mcritical", found), found
    assert re.search(r"\x1b\[1;35mseveral_active\x1b\[0m +\x1b\[1;35mwarning", found), found
