"""Every format, with every kind of value, and nothing that could harm a terminal or a spreadsheet."""

import csv
import io
import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from unicodedata import bidirectional, category
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdev.output.render import Format, Table, Writer
from seqdev.output.text import Phone, escape_json, mask, spreadsheet_cell, visible
from tests.world.hostile import HOSTILE

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@dataclass(frozen=True)
class Row:
    name: str | None
    phone: Phone | None
    number: int
    at: datetime | None
    took: timedelta
    id: UUID
    yes: bool


ROW = Row(
    "1e5",
    Phone("60123456789"),
    -7,
    datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    timedelta(seconds=1.5),
    UUID(int=1),
    True,
)


def written(format_: Format, *tables: Table, masked: bool = False) -> str:
    out = io.StringIO()
    Writer(format_, masked, out).write(*tables)
    return out.getvalue()


def rows(*items: Row) -> Table:
    return Table("rows", Row, list(items))


def test_a_plain_table_is_exact_and_guesses_no_numbers() -> None:
    assert written(Format.TABLE, rows(ROW)) == (
        "name    phone          number  at (UTC)               took  id                                    yes\n"
        "------  -----------  --------  -------------------  ------  ------------------------------------  -----\n"
        "1e5     60123456789        -7  2026-03-04 05:06:07   1.5 s  00000000-0000-0000-0000-000000000001  yes\n"
    )


def test_json_is_an_array_of_objects_with_the_fields_names() -> None:
    assert (
        json.loads(written(Format.JSON, rows(ROW, ROW)))
        == [
            {
                "name": "1e5",
                "phone": "60123456789",
                "number": -7,
                "at": "2026-03-04T05:06:07+00:00",
                "took": 1.5,
                "id": "00000000-0000-0000-0000-000000000001",
                "yes": True,
            }
        ]
        * 2
    )
    assert json.loads(written(Format.JSON, rows())) == []


def test_a_single_row_is_an_object_and_several_tables_are_an_object_of_them() -> None:
    single = Table("one", Row, [ROW], single=True)
    assert json.loads(written(Format.JSON, single))["number"] == -7
    both = json.loads(written(Format.JSON, single, rows(ROW)))
    assert both["one"]["number"] == both["rows"][0]["number"] == -7


def test_jsonl_is_a_line_a_row() -> None:
    lines = written(Format.JSONL, rows(ROW, ROW)).splitlines()
    assert [json.loads(line)["number"] for line in lines] == [-7, -7]


@pytest.mark.parametrize(("format_", "delimiter"), [(Format.CSV, ","), (Format.TSV, "\t")])
def test_csv_has_a_header_and_a_line_a_row(format_: Format, delimiter: str) -> None:
    read = list(csv.DictReader(io.StringIO(written(format_, rows(ROW))), delimiter=delimiter))
    assert [row["number"] for row in read] == ["-7"]
    assert list(read[0]) == [field.name for field in fields(Row)]


def test_the_tables_that_csv_cannot_hold_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    out = written(Format.CSV, rows(ROW), Table("others", Row, [ROW]))
    assert len(out.splitlines()) == 2
    assert "others" in capsys.readouterr().err


def test_markdown_escapes_what_would_break_it() -> None:
    out = written(Format.MARKDOWN, rows(Row("a|b\nc\\", None, 1, None, timedelta(), UUID(int=1), False)))
    assert "a\\|b\\\\nc\\\\" in out
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize("format_", Format)
def test_no_control_or_bidi_character_survives(format_: Format) -> None:
    out = written(format_, rows(Row(HOSTILE, Phone(HOSTILE), 1, None, timedelta(), UUID(int=1), False)))
    assert not set(out) & set("\x1b\x07\x9b\u202e\u2066\r\x00\x7f")
    assert "evil" in out
    assert "[red]" in out


def test_json_gives_the_text_back_as_it_is_in_the_database() -> None:
    row = Row(HOSTILE, None, 1, None, timedelta(), UUID(int=1), False)
    assert json.loads(written(Format.JSON, rows(row)))[0]["name"] == HOSTILE


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    row = Row(text, None, 1, None, timedelta(), UUID(int=1), False)
    (read,) = csv.DictReader(io.StringIO(written(Format.CSV, rows(row))))
    assert read["name"][0] in "'\\"


def test_a_mask_hides_phones_and_phones_only() -> None:
    for format_ in Format:
        out = written(format_, rows(ROW), masked=True)
        assert "60123456789" not in out
        assert "601*****789" in out
        assert "1e5" in out


@pytest.mark.thorough
@given(st.text())
def test_visible_text_holds_no_unsafe_character_and_safe_text_stays(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert all(category(character) != "Cc" and bidirectional(character) not in BIDI for character in shown)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaped_json_reads_back_as_the_same_text(text: str) -> None:
    assert json.loads(escape_json(json.dumps(text, ensure_ascii=False))) == text


@given(st.text())
def test_a_spreadsheet_cell_never_begins_a_formula(text: str) -> None:
    assert not spreadsheet_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.text(min_size=1))
def test_a_masked_phone_shows_six_characters_at_most(text: str) -> None:
    assert len(mask(text)) == len(text)
    assert sum(character != "*" for character in mask(text)) <= 6
