"""Databases with a world in them."""

from pathlib import Path

import psycopg
from psycopg.rows import namedtuple_row

from tests.faults.processes import Forks
from tests.faults.record import Held
from tests.faults.servers import Server
from tests.faults.world import World
from tests.world.host import Host

HERE = Path(__file__).parent


def world_of(server: Server, forks: Forks, held: Held, database: str = "service") -> World:
    """The world in a server of its own."""
    url = server.url(database)
    connection = psycopg.connect(url, autocommit=True, row_factory=namedtuple_row)
    return World(url, Host(connection), forks, held)


def build(database: str, people: int, users: int = 2) -> None:
    """Fill the host's tables in ``database``: so many people a user."""
    with psycopg.connect(database, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute((HERE / "world.sql").read_bytes(), {"people": people, "users": users})
        # The steps of the world are due at once.
        Host(connection).rule("default_delay", "0s")
