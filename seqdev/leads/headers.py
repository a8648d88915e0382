"""What the columns of a file of leads hold, by their headers: of the host, of Google, HubSpot and Outlook."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from seqdev.errors import UsageError

BAD_TEXT = re.compile("[\x00\ud800-\udfff]")
"""What no text in the database can hold."""

_HEADERS = {
    "name": "name fullname nama namapenuh contactname customername",
    "first_name": "firstname givenname",
    "middle_name": "middlename additionalname",
    "last_name": "lastname surname familyname",
    "niche": "niche category",
    "trigger": "trigger triggers tag tags",
    "device": "device devicename deviceid",
}
_COLUMNS = {header: column for column, headers in _HEADERS.items() for header in headers.split()}

_PHONES = (
    "whatsapp whatsappnumber whatsappno whatsappphone whatsappphonenumber",
    "mobile mobilenumber mobileno mobilephone mobilephonenumber cell cellphone cellular handphone iphone",
    "phone phonenumber phoneno primaryphone mainphone msisdn tel telephone telefon contact contactnumber"
    " contactno number nohp nomborhp nomortelepon",
    "homephone homephonenumber",
    "workphone workphonenumber businessphone businessphonenumber officephone",
    "otherphone otherphonenumber",
)
"""Headers of phones, those first on which WhatsApp is most likely."""
_RANKS = {header: rank for rank, headers in enumerate(_PHONES) for header in headers.split()}
_PLAIN, _OTHER = _RANKS["phone"], _RANKS["otherphone"]

_GOOGLES_VALUE = re.compile(r"phone(\d+)value")
_GOOGLES_LABEL = re.compile(r"phone(\d+)(?:label|type)")
_NEVER = re.compile("fax|pager")
_SEVERAL = ":::"
"""Between the values of one cell in what Google exports."""


@dataclass(frozen=True)
class _Phones:
    """A column of phones: the likelier one is WhatsApp's, the lower its ``rank``, unless a label says so.

    ``label``: the place of the label in each record; None: there is none.
    """

    rank: int
    number: int
    place: int
    label: int | None = None


class Columns:
    """The columns of a file. Raises UsageError where they make no sense."""

    def __init__(self, headers: Sequence[str]) -> None:
        if not headers:
            raise UsageError("the file is empty", "it needs a header line, with a column phone at least")
        if any(map(BAD_TEXT.search, headers)):
            raise UsageError("the header line is not UTF-8 text", "save the file as CSV (UTF-8)")
        self._headers = headers
        self.places: dict[str, int] = {}
        """The place of every column but those of phones, by what it holds."""
        known = [_known(header) for header in headers]
        for place, header in enumerate(known):
            if column := _COLUMNS.get(header):
                if column in self.places:
                    self._refuse(column, self.places[column], place)
                self.places[column] = place
        labels = {
            found[1]: place
            for place, header in enumerate(known)
            if (found := _GOOGLES_LABEL.fullmatch(header))
        }
        self._phones: list[_Phones] = []
        for place, header in enumerate(known):
            if found := _GOOGLES_VALUE.fullmatch(header):
                self._add(_Phones(_PLAIN, int(found[1]), place, labels.get(found[1])))
            elif found := re.fullmatch(r"(.*?)(\d{0,3})", header):
                rank = _RANKS.get(found[1])
                if rank is not None:
                    self._add(_Phones(rank, int(found[2] or 0), place))
        if not self._phones:
            listed = ", ".join(map(_shown, headers[:20])) + (", …" if len(headers) > 20 else "")
            raise UsageError(
                f"no column for the phone in the header line: {listed}",
                "name the column of the phones: phone",
            )
        self._phones.sort(key=_order)
        self.labelled = any(one.label is not None for one in self._phones)
        """Whether labels in each record say which of its phones is taken first."""

    @property
    def of_phones(self) -> list[str]:
        """The headers of phones, fit to be shown, in the order in which they are taken."""
        return [_shown(self._headers[one.place]) for one in self._phones]

    @property
    def ignored(self) -> list[str]:
        """The headers that mean nothing here, fit to be shown."""
        used = {*self.places.values(), *(place for one in self._phones for place in (one.place, one.label))}
        return [_shown(header) for place, header in enumerate(self._headers) if place not in used]

    def phones(self, cells: Sequence[str]) -> Iterator[str]:
        """The phones of the record ``cells`` as they are written, those first that are to be taken first."""
        columns = self._by_label(cells) if self.labelled else self._phones
        for one in columns:
            text = cells[one.place] if one.place < len(cells) else ""
            for phone in text.split(_SEVERAL) if _SEVERAL in text else (text,):
                if phone := phone.strip():
                    yield phone

    def _by_label(self, cells: Sequence[str]) -> list[_Phones]:
        """The columns of phones as the labels in ``cells`` order them."""
        labelled = (
            replace(one, rank=_rank(cells[one.label]))
            if one.label is not None and one.label < len(cells)
            else one
            for one in self._phones
        )
        return sorted((one for one in labelled if one.rank <= _OTHER), key=_order)

    def _add(self, phones: _Phones) -> None:
        for one in self._phones:
            if _order(one) == _order(phones):
                self._refuse("phone", one.place, phones.place)
        self._phones.append(phones)

    def _refuse(self, column: str, first: int, second: int) -> None:
        raise UsageError(
            f"two columns for the {column.replace('_', ' ')}: {_shown(self._headers[first])}"
            f" and {_shown(self._headers[second])}",
            "rename or remove the one that is not meant",
        )


def _order(phones: _Phones) -> tuple[int, int]:
    return phones.rank, phones.number


def _known(header: str) -> str:
    """A header, or a label, as the lists above have it."""
    return re.sub(r"[\W_]+", "", header.casefold())


@lru_cache(1000)
def _rank(label: str) -> int:
    """The rank of a phone that Google's address book labels so."""
    known = _known(label)
    if not known:
        return _PLAIN
    if "whatsapp" in known:
        return 0
    if _NEVER.search(known):
        return _OTHER + 1
    return _RANKS.get(known, _RANKS.get(known + "phone", _OTHER))


def _shown(header: str) -> str:
    """A header for people to read. In a file without header line it may be somebody's phone."""
    text = header.strip()
    if sum(map(str.isdigit, text)) > 4:
        return "(a number)"
    return repr(text[:40])
