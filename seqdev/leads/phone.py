"""Phones as people write them, and the digits that the host stores."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from seqdev.phone import known_region, unwrapped

_PLAIN = re.compile(r"\+[1-9][0-9 .()\-]{3,60}")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{5,14}")
_NO_SIGNS = str.maketrans("", "", "+ .()-")
_KINDS = (
    *("general_desc", "mobile", "fixed_line", "toll_free", "premium_rate", "shared_cost", "voip"),
    *("personal_number", "pager", "uan", "voicemail"),
)
_DIGITS_AND_SIGNS = re.compile(r"[0-9][0-9 .\-\u00a0]*")


def phone_reader(region: str | None) -> Callable[[str], str | None]:
    """A function from a phone as people write it to its E.164 digits; None where it is not valid.

    International with + or 00, in a link or a JID; without ``region`` also bare digits, which then begin
    with the country code. With ``region`` all others are national numbers there. Raises UsageError for an
    unknown region.
    """
    if region is not None:
        region = known_region(region, "--region")

    def digits(text: str) -> str | None:
        is_jid, text = "@" in text, unwrapped(text)
        # WhatsApp itself has given it out, whatever the library knows.
        if is_jid and _INTERNATIONAL.fullmatch(text):
            return text[1:]
        # A spreadsheet took it for a number.
        if text.endswith(".0") and text[:-2].removeprefix("+").isdecimal():
            text = text[:-2]
        if text.startswith("00"):
            text = "+" + text[2:]
        elif region is None and _DIGITS_AND_SIGNS.fullmatch(text):
            text = "+" + text
        return plainly_valid(text) or parsed(text, region)

    return digits


def parsed(text: str, region: str | None) -> str | None:
    """The E.164 digits of a phone by the rules of the library phonenumbers; None where it is not valid."""
    import phonenumbers

    # Neither vanity numbers nor extensions: the host's service has neither.
    if any(map(str.isalpha, text)):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]


def plainly_valid(text: str) -> str | None:
    """What ``parsed`` says, many times as fast, of a number that begins with its country code; or None.

    None stands for "ask ``parsed``": not valid, or nothing as plain as a number that the country's own
    rules accept as it is, with no prefix to take off and no other country to tell apart.
    """
    if not _PLAIN.fullmatch(text):
        return None
    digits = text.translate(_NO_SIGNS)
    for length in (1, 2, 3):
        rules = _rules(digits[:length])
        if rules is None:
            continue
        national = digits[length:]
        if national.startswith("0") or (rules.prefix and rules.prefix.match(national)):
            return None
        fits = rules.general.fits(national) and any(kind.fits(national) for kind in rules.kinds)
        return digits if fits else None
    return None


@dataclass(frozen=True)
class _Kind:
    """Numbers that are alike; no ``lengths``: of any length that the pattern takes."""

    lengths: frozenset[int]
    pattern: re.Pattern[str]

    def fits(self, national: str) -> bool:
        """Whether ``national`` is one of them."""
        if self.lengths and len(national) not in self.lengths:
            return False
        return self.pattern.fullmatch(national) is not None


@dataclass(frozen=True)
class _Rules:
    """The numbers of a country: what may stand before them, what all are like, and each kind of them."""

    prefix: re.Pattern[str] | None
    general: _Kind
    kinds: list[_Kind]


@cache
def _rules(country_code: str) -> _Rules | None:
    """The rules of the main country of a code; None where there is no such code."""
    import phonenumbers

    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(country_code))
    if not regions:
        return None
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(regions[0])
    # A service of no country, or a country told by its first digits: nothing here is plain.
    if metadata is None or metadata.leading_digits is not None:
        return _Rules(None, _Kind(frozenset(), re.compile("(?!)")), [])
    general, *kinds = (
        _Kind(frozenset(kind.possible_length), re.compile(kind.national_number_pattern or "(?!)"))
        for name in _KINDS
        if (kind := getattr(metadata, name)) is not None
    )
    prefix = metadata.national_prefix_for_parsing
    return _Rules(re.compile(prefix) if prefix else None, general, kinds)
