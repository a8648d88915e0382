"""Phones as people type them: out of links and JIDs, digits of any script; and what a national number is."""

import re
from collections.abc import Mapping

from seqdev.errors import UsageError

# What phones copied from address books, chats and spreadsheets are wrapped in.
_WRAPPING = re.compile("[\\s'\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
_LINK = re.compile(
    r"(?:https?://)?(?:wa\.me/|(?:api|web|www)\.whatsapp\.com/send/?\?(?:\S*&)?phone=|"
    r"whatsapp://send/?\?(?:\S*&)?phone=)(?:\+|%2B)?([0-9]{5,20})(?:[/?&#]\S*)?",
    re.IGNORECASE,
)
_JID = re.compile(r"\+?([0-9]+)(?:\.[0-9]+)?(?::[0-9]+)?@(?:s\.whatsapp\.net|c\.us)", re.IGNORECASE)
_URI = re.compile(r"(?:tel|callto|sms|smsto):(?://)?([^;?]+)([;?].*)?", re.IGNORECASE)
_CONTEXT = re.compile(r";phone-context=(\+[0-9]+)", re.IGNORECASE)
_BETWEEN = re.compile(r"[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$")
_WRITTEN_TO = re.compile(r"[0-9]{6,15}|120363[0-9]{12}|[0-9]{6,31}@(lid|gus|newsletter|broadcast)")
_SIGNS = {ord(sign): "-" for sign in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"} | {0xFF0B: "+"}


def unwrapped(text: str) -> str:
    """The phone in ``text`` in ASCII digits and signs: without the link, URI or JID around it.

    What is no phone comes back much as it is. A link or a JID holds an international number, which then
    begins with +.
    """
    text = _WRAPPING.sub(" ", text).strip().translate(_SIGNS)
    if not text.isascii():
        text = "".join(str(int(sign)) if sign.isdecimal() else sign for sign in text)
    if international := _LINK.fullmatch(text) or _JID.fullmatch(text):
        return "+" + international[1]
    if (uri := _URI.fullmatch(text)) and ";ext=" not in (uri[2] or "").lower():
        context = _CONTEXT.search(uri[2] or "")
        return (context[1] if context else "") + uri[1].strip()
    return text


def asked_for(typed: str, source: str) -> str:
    """The phone that somebody typed, out of what is around it.

    Raises UsageError, which names ``source`` and not what was typed, where it is none.
    """
    phone = unwrapped(typed)
    if not _WRITTEN_TO.fullmatch(_BETWEEN.sub("", phone)):
        raise UsageError(f"{source} is no phone", "give 6 to 15 digits, with the country code first")
    return phone


def national(region: str) -> Mapping[str, str]:
    """What makes a number a national one in ``region``, and what stands for that, as parameters.

    ``national``: a regular expression, as PostgreSQL reads it; what it matches at the beginning of a number
    that is not written as international gives way to ``country``. Without a region nothing is national.
    Raises UsageError for a region that does not exist: it is the rule's.
    """
    if not region:
        return {"national": "(?!)", "country": ""}
    import phonenumbers

    metadata = phonenumbers.PhoneMetadata.metadata_for_region(known_region(region, "the rule region"))
    assert metadata
    country, trunk = str(metadata.country_code), metadata.national_prefix or ""
    # No international number begins with a zero: that alone tells a national one.
    if trunk.startswith("0"):
        return {"national": f"^{trunk}", "country": country}
    kinds = (metadata.mobile, metadata.fixed_line)
    numbers = "|".join(
        kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern
    )
    return {"national": f"^{'' if trunk == country else trunk}(?=(?:{numbers})$)", "country": country}


def digits(typed: str, region: str) -> str:
    """The digits of a phone as a person typed it, with the country code of ``region`` if it has none."""
    phone = unwrapped(typed)
    bare = re.sub("[^0-9]", "", phone)
    if phone.lstrip(" (").startswith(("+", "00")):
        return bare.removeprefix("00")
    rule = national(region)
    return re.sub(rule["national"], rule["country"], bare)


def known_region(region: str, source: str) -> str:
    """``region`` in capitals. Raises UsageError, which names ``source``, where there is no such region."""
    import phonenumbers

    if (known := region.upper()) not in phonenumbers.SUPPORTED_REGIONS:
        raise UsageError(
            f"{source} cannot be {region!r}: no such region",
            "give a country by its two letters, such as MY or ID",
        )
    return known
