"""What is read and written as text, with any text at all: durations, phones, CSV files, SQL files, every format."""

import csv
import io
import json
import re
from contextlib import redirect_stderr
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import phonenumbers
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seqdev.errors import UsageError
from seqdev.leads.file import LeadFile
from seqdev.leads.phone import parsed, phone_reader, plainly_valid
from seqdev.output.render import Format, Table, Writer, note
from seqdev.output.text import Phone
from seqdev.postgres.queries import StatementError, literal, parse
from seqdev.settings import parse_duration
from tests.world.command import Cli
from tests.world.host import Host

quick = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

UNSAFE = "\0\x07\t\n\v\f\r\x1b\x1e\x7f\x85\x9b\u061c\u200f\u2028\u2029\u202e\u2066\ud800\udc80"
ANY = st.text(st.characters()) | st.text(UNSAFE + "a")
"""Any code points: the harmful ones often, half a pair among them."""
STORED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
"""What a database can hold."""
RAW = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no reader may see: controls, bidi, halves of a pair; not the newline between rows."""

# -- Durations ---------------------------------------------------------------------------------------------

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@quick
@given(st.integers(0, 999_999), st.sampled_from(list(UNITS)), st.sampled_from(["", " ", "\n", "\t "]))
def test_a_duration_is_its_number_of_units(number: int, unit: str, blank: str) -> None:
    assert parse_duration(f"{blank}{number}{unit}{blank}") == timedelta(seconds=number * UNITS[unit])


@quick
@given(
    ANY | st.tuples(st.text("0123456789٣۵", min_size=1, max_size=12), st.sampled_from("smhdwS")).map("".join)
)
def test_what_is_no_duration_is_an_error_that_says_how_to_write_one(text: str) -> None:
    if re.fullmatch(r"[0-9]{1,6}[smhdw]", text.strip()):
        assert parse_duration(text) >= timedelta(0)
    else:
        with pytest.raises(ValueError, match="write 90s, 15m, 1h, 2d or 1w"):
            parse_duration(text)


@settings(quick, max_examples=25)
@given(ANY.filter(lambda text: not re.fullmatch(r"\s*\d{1,6}[smhdw]\s*", text)))
@example("\ud800")
@example("\x1b[31m5m")
def test_a_budget_that_is_no_duration_is_wrong_usage_and_never_a_traceback(seqdev: Cli, text: str) -> None:
    ran = seqdev("tick", f"--budget={text}")
    assert (ran.code, ran.out) == (2, "")
    assert 1 <= len(ran.err.splitlines()) <= 2
    assert not RAW.search(ran.err)


# -- Phones ------------------------------------------------------------------------------------------------

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
SIGNS = st.sampled_from(["", " ", "-", ".", " (", ") "])


@quick
@given(st.sampled_from(REGIONS), st.data())
def test_a_phone_is_the_same_in_every_spelling(region: str, data: st.DataObject) -> None:
    number = phonenumbers.example_number(region)
    if number is None:
        return
    digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    at = data.draw(st.integers(2, len(digits) - 2))
    spelt = digits[:at] + data.draw(st.sampled_from(["", " ", "-", "."])) + digits[at:]
    for text in (f"+{spelt}", f"00{spelt}", spelt, f"\u202a+{spelt}\u202c", f" '+{spelt} "):
        assert phone_reader(None)(text) == digits, text
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert phone_reader(region)(national) == digits


@quick
@given(ANY | st.text("0123456789+() -.xX'\u00a0\u202a٣"), st.sampled_from([None, "MY", "us", "DE"]))
@example("+1 800 FLOWERS", None)
@example("0123456789 ext 5", "MY")
def test_whatever_is_read_as_a_phone_is_valid_and_reads_as_itself(text: str, region: str | None) -> None:
    digits = phone_reader(region)(text)
    if digits is not None:
        assert not any(map(str.isalpha, text)), "neither words nor extensions"
        assert re.fullmatch(r"[1-9][0-9]{5,14}", digits)
        assert phone_reader(None)("+" + digits) == phone_reader(region)("+" + digits) == digits


@settings(quick, max_examples=400)
@given(st.sampled_from(REGIONS), st.text("0123456789", min_size=3, max_size=13))
def test_the_quick_way_to_a_phone_says_what_the_library_says(region: str, national: str) -> None:
    text = f"+{phonenumbers.country_code_for_region(region)}{national}"
    found = plainly_valid(text)
    assert found is None or found == parsed(text, None)


@quick
@given(ANY.filter(lambda text: text.upper() not in REGIONS))
def test_an_unknown_region_is_wrong_usage(region: str) -> None:
    with pytest.raises(UsageError):
        phone_reader(region)


# -- Files of leads ----------------------------------------------------------------------------------------

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
HEADERS = {
    "phone": ["phone", "Phone Number", "MSISDN", "no_hp"],
    "name": ["name", "Full Name"],
    "niche": ["niche", "Category"],
    "device": ["device", "device-id"],
}


def lead_file(content: bytes) -> LeadFile:
    """The file as the command opens it."""
    return LeadFile(
        io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape", newline=""),
        None,
    )


@quick
@given(st.data())
def test_a_file_of_leads_comes_back_as_it_was_written(data: st.DataObject) -> None:
    columns = data.draw(st.permutations(list(HEADERS)))
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(HEADERS, CELL)), max_size=5))
    for number, row in enumerate(rows):
        row["phone"] = f"+1 202-555-01{number:02}"
    # With \n alone, csv leaves \r unquoted.
    everything, end = data.draw(st.sampled_from([(False, "\r\n"), (True, "\n"), (True, "\r\n")]))
    out = io.StringIO()
    delimiter = data.draw(st.sampled_from(",;\t"))
    writer = csv.writer(
        out,
        delimiter=delimiter,
        quoting=csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL,
        lineterminator=end,
    )
    writer.writerow([data.draw(st.sampled_from(HEADERS[name])) for name in columns])
    writer.writerows([[row[name] for name in columns] for row in rows])
    bom = data.draw(st.sampled_from(["", "\ufeff"]))

    lines = list(lead_file((bom + out.getvalue()).encode()))

    assert [line.reason for line in lines] == [None] * len(rows)
    for number, (line, row) in enumerate(zip(lines, rows, strict=True)):
        assert line.phone == f"120255501{number:02}"
        for name in ("name", "niche", "device"):
            assert getattr(line, name) == (row[name].strip() or None)


@quick
@given(
    st.binary()
    | ANY.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | ANY.map(lambda text: b"phone,name\n+12025550101," + text.encode("utf-8", "surrogatepass"))
    | st.text('phone,;\t\n\r"0123456789+ \0').map(lambda text: ("phone," + text).encode())
)
def test_a_file_that_is_none_is_an_error_or_a_reason_on_each_line(content: bytes) -> None:
    refused = ""
    try:
        for line in lead_file(content):
            assert (line.phone is None) == (line.reason is not None)
            assert line.reason or not re.search("[\0\ud800-\udfff]", f"{line.phone} {line.name} {line.niche}")
    except UsageError as error:
        refused = error.message
    assert not RAW.search(refused)
    # No phone of the first line; "\\U0001f600" is none.
    assert not re.search(r"[0-9]{5}", re.sub(r"\\[uUx][0-9a-f]+", "", refused))


# -- SQL files ---------------------------------------------------------------------------------------------

NAMES = st.text("abcxyz_", min_size=1, max_size=8)
LITERALS = (
    "':not_a_bind'",
    "'it''s; 100%'",
    "E'\\' ; :x % \\''",
    '":column;"',
    "$$ ; :x 'y' $$",
    "$tag$ $$ ; $tag$",
    "/* ; :x\n */",
    "-- ; :'x' %\n",
    "x::text",
    "5 % 2",
    "'\u2028'",
)


@quick
@given(
    st.dictionaries(NAMES, STORED.filter(lambda text: not re.search(r"[\r\n]", text)), max_size=3), st.data()
)
def test_a_statement_keeps_its_text_and_turns_its_variables_into_binds(
    parameters: dict[str, str], data: st.DataObject
) -> None:
    parts = data.draw(st.permutations([*parameters, *data.draw(st.lists(st.sampled_from(LITERALS)))]))
    lines = ["-- A title", "--", "-- Parameters:"]
    lines += [f"--   {name}  text  what it means" for name in parameters]
    for name, default in parameters.items():
        written = default.replace("'", "''")
        lines.append(rf"\if :{{?{name}}} \else \set {name} '{written}' \endif")
    body = ["select 1"] + [f":'{part}'::text" if part in parameters else part for part in parts]

    statement = parse("\n".join(lines) + "\n" + " ".join(body) + "\n;\n", "x.sql")

    assert {name: found.default for name, found in statement.parameters.items()} == parameters
    expected = ["select 1"] + [
        f"%({part})s::text" if part in parameters else part.replace("%", "%%") for part in parts
    ]
    assert statement.text == "/* seqdev x.sql */ " + " ".join(expected).strip()


@quick
@given(NAMES, st.sampled_from([":{}", ':"{}"', ":{{?{}}}"]), st.lists(st.sampled_from(LITERALS)))
def test_a_bare_variable_is_refused_wherever_it_stands(name: str, written: str, before: list[str]) -> None:
    bare = written.format(name)
    with pytest.raises(StatementError, match="bare " + re.escape(bare)):
        parse(f"-- A title\nselect {' '.join(before)} {bare} ;", "x.sql")


@quick
@given(st.text(st.sampled_from("-\\:'\"$;%{}?/*eE \nabx,()")) | ANY)
def test_any_other_file_is_refused_in_our_own_words(source: str) -> None:
    for text in (source, "-- title\n" + source):
        refused = ""
        try:
            assert parse(text, "x.sql").title
        except StatementError as error:
            refused = error.message
        assert not refused or refused.startswith("sql/x.sql: ")


def test_values_reach_the_server_as_they_are(host: Host) -> None:
    @quick
    @given(st.lists(STORED | st.none(), max_size=5), STORED)
    def check(items: list[str | None], text: str) -> None:
        assert host.rows("select %s::text[] as items, %s::text as text", literal(items), literal(text)) == [
            (items, text)
        ]

    check()


# -- Formats -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    name: str | None
    phone: Phone | None
    number: int
    yes: bool


ROWS = st.lists(
    st.builds(
        Row,
        st.none()
        | ANY
        | st.sampled_from(["=1+1", "+x", "-x", "@x", "\t=x", "a|b", "\\", "'", '"', "```", "<b>"]),
        st.none() | ANY.map(Phone),
        st.integers(-(10**9), 10**9),
        st.booleans(),
    ),
    max_size=5,
)


def written(format_: Format, rows: list[Row]) -> str:
    out = io.StringIO()
    Writer(format_, out=out).write(Table("rows", Row, rows))
    return out.getvalue()


def joined(text: str | None) -> str | None:
    """``text`` with both halves of a pair as one character, as JSON reads them."""
    return None if text is None else text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def plain(text: str | None) -> bool:
    """Whether a cell needs no neutralising."""
    return not text or (text.isprintable() and text[0] not in "=+-@")


@quick
@given(ANY)
def test_a_note_is_one_line_without_raw_characters(text: str) -> None:
    with redirect_stderr(io.StringIO()) as err:
        note(text)
    assert err.getvalue().count("\n") == 1
    assert not RAW.search(err.getvalue())


@quick
@given(ROWS)
@pytest.mark.parametrize("format_", [Format.JSON, Format.JSONL])
def test_json_gives_back_what_was_written(format_: Format, rows: list[Row]) -> None:
    out = written(format_, rows)
    assert not RAW.search(out)
    read: list[dict[str, Any]] = (
        json.loads(out) if format_ is Format.JSON else [json.loads(line) for line in out.splitlines()]
    )
    assert [(row["name"], row["phone"], row["number"], row["yes"]) for row in read] == [
        (joined(row.name), joined(row.phone), row.number, row.yes) for row in rows
    ]


@quick
@given(ROWS)
@pytest.mark.parametrize(("format_", "delimiter"), [(Format.CSV, ","), (Format.TSV, "\t")])
def test_csv_gives_back_what_is_harmless_and_neutralises_the_rest(
    format_: Format, delimiter: str, rows: list[Row]
) -> None:
    out = written(format_, rows)
    assert not RAW.search(out.replace("\t", "") if format_ is Format.TSV else out)
    header, *read = csv.reader(io.StringIO(out, newline=""), delimiter=delimiter, strict=True)
    assert header == [field.name for field in fields(Row)]
    assert [(int(number), yes) for _, _, number, yes in read] == [
        (row.number, "yes" if row.yes else "no") for row in rows
    ]
    for cells, row in zip(read, rows, strict=True):
        for cell, text in zip(cells, (row.name, row.phone), strict=False):
            assert not cell.startswith(("=", "+", "-", "@"))
            if plain(text):
                assert cell == (text or "")


@quick
@given(ROWS)
@pytest.mark.parametrize("format_", [Format.TABLE, Format.MARKDOWN])
def test_a_table_has_a_line_a_row_and_no_raw_character(format_: Format, rows: list[Row]) -> None:
    out = written(format_, rows)
    assert not RAW.search(out)
    if not rows:
        assert out == ""
        return
    lines = out.removesuffix("\n").split("\n")
    assert lines == out.splitlines(), "something that other readers take for the end of a line"
    assert len(lines) == 2 + len(rows)
    if format_ is Format.MARKDOWN:
        for line, row in zip(lines[2:], rows, strict=True):
            cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
            assert len(cells) == len(fields(Row))
            if plain(row.name) and "\\" not in (row.name or "") and "|" not in (row.name or ""):
                assert cells[0].strip() == (row.name or "").strip()
