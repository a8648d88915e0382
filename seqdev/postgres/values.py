"""Values of any type, for a statement that comes from outside ``sql/``."""

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.string import TextLoader

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, Buffer

_AS_WRITTEN = (
    *("time", "timetz", "inet", "cidr", "bytea"),
    *(
        f"{kind}{how}"
        for kind in ("int4", "int8", "num", "date", "ts", "tstz")
        for how in ("range", "multirange")
    ),
)
"""Types whose values are shown as the server writes them."""

_WITHIN_BOUNDS = ("date", "timestamp", "interval")
"""Types that hold more than Python's: what is beyond is shown as the server writes it."""


def take_any(connection: "psycopg.Connection[Any]") -> None:
    """Let this connection read every value that there is."""
    for kind in _AS_WRITTEN:
        connection.adapters.register_loader(kind, TextLoader)
    for kind in _WITHIN_BOUNDS:
        found = psycopg.adapters.get_loader(psycopg.adapters.types[kind].oid, Format.TEXT)
        assert found
        connection.adapters.register_loader(kind, _lenient(found))


def _lenient(loader: type[Any]) -> type[Loader]:
    """A loader that gives the server's text where ``loader`` cannot."""

    class Lenient(Loader):
        def __init__(self, oid: int, context: "AdaptContext | None" = None) -> None:
            super().__init__(oid, context)
            self._inner = loader(oid, context)

        def load(self, data: "Buffer") -> Any:
            try:
                return self._inner.load(data)
            except (psycopg.DataError, OverflowError):
                return bytes(data).decode()

    return Lenient
