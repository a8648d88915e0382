"""The queries that the code declares: who owns which file below sql/."""

import importlib
import pkgutil
from collections.abc import Iterator
from enum import Enum
from typing import Any

import seqdev
from seqdev.postgres.queries import Query


def modules() -> Iterator[Any]:
    """Every module of the package."""
    for module in pkgutil.walk_packages(seqdev.__path__, "seqdev."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def queries() -> Iterator[Query[Any]]:
    """Every query that a module of the package declares."""
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Enum):
                yield from (member.value for member in value if isinstance(member.value, Query))
            for item in value if isinstance(value, tuple) else [value]:
                if isinstance(item, Query):
                    yield item


OWNERS = {id(query): query for query in queries()}.values()


def owner(path: str) -> Query[Any]:
    """The one query that owns the file."""
    (query,) = (query for query in OWNERS if query.path == path)
    return query
