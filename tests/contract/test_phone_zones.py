"""The zones of phones are those of the library phonenumbers: `make docs` writes them to the statement anew."""

from phonenumbers.tzdata import TIMEZONE_DATA

from seqdev.postgres.queries import ROOT
from tests.contract.pages import keep

FILE = ROOT / "gates" / "phone_zones.sql"
HEAD = """-- In which time zones people are, by how their phones begin
--
-- The data of the library phonenumbers, written by "make docs". The longest prefix that a phone begins with tells; one
-- that says the same as the next shorter one is left out. Where a prefix has several zones, the person is in any of them.
--
-- The n-th elements of the arrays belong together.
--
-- Parameters: none
-- Row:
--   phone_prefixes  text  text[]: the first digits, country code first
--   phone_zones     text  text[]: the zones, joined by &
-- Locks: none
select
    coalesce(array_agg(prefix.digits), '{}')::text as phone_prefixes,
    coalesce(array_agg(known.zones), '{}')::text as phone_zones
from (
    values
"""
TAIL = """
) as known (zones, prefixes)
cross join unnest(known.prefixes::text []) as prefix (digits)
\\gset
"""


def of(digits: str) -> tuple[str, ...]:
    """The zones of the longest prefix of ``digits``."""
    return next(
        (
            TIMEZONE_DATA[digits[:size]]
            for size in range(len(digits), 0, -1)
            if digits[:size] in TIMEZONE_DATA
        ),
        (),
    )


def test_the_statement_has_what_the_library_says() -> None:
    prefixes: dict[tuple[str, ...], list[str]] = {}
    for digits, zones in sorted(TIMEZONE_DATA.items()):
        if of(digits[:-1]) != zones:
            prefixes.setdefault(zones, []).append(digits)
    rows = [
        f"        ('{'&'.join(zones)}', '{{{','.join(own)}}}')" for zones, own in sorted(prefixes.items())
    ]
    keep(FILE, HEAD + ",\n".join(rows) + TAIL)
