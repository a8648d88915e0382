"""The URL that names a database, and the secrets that may stand in it."""

import re

from seqdev.errors import UsageError

_SECRETS = {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}


def read(database_url: str) -> dict[str, str]:
    """The options of a URL or libpq conninfo by keyword.

    Raises UsageError when it cannot be read, or reads as something else than it looks like: libpq takes what
    follows an unescaped @ or / of a password for host, port or database, and shows it in its errors.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        options = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    except ProgrammingError:
        options = None
    authority, _, rest = database_url.partition("://")[2].partition("/")
    ambiguous = re.match(r"postgres(ql)?://", database_url) and (
        authority.count("@") > 1 or "@" in authority.partition("?")[2] or "@" in rest
    )
    if options is None or ambiguous or not re.fullmatch(r"[0-9, ]*", options.get("port", "")):
        # Not chained: libpq's own words repeat what it could not read.
        raise UsageError(
            "the database URL cannot be read",
            "write postgresql://user@host:5432/name; characters such as @ in a password as %40",
        )
    return options


def has_secret(database_url: str) -> bool:
    """Whether a password or another secret stands in the URL. Raises UsageError as ``read`` does."""
    return not _SECRETS.isdisjoint(read(database_url))


def refuse_secret(database_url: str) -> None:
    """Raise UsageError when a secret stands in a URL of the command line. Also raises as ``read`` does."""
    if has_secret(database_url):
        raise UsageError(
            "a password in --database-url shows in the process list",
            "leave it out, and use ~/.pgpass, a libpq service, PGPASSWORD, SEQDEV_DATABASE_URL "
            "or password_command",
        )


def without_secrets(conninfo: str) -> tuple[str, dict[str, str]]:
    """``conninfo`` for another program's command line, and the variables that bring it the password."""
    from psycopg.conninfo import make_conninfo

    options = read(conninfo)
    shown = {name: value for name, value in options.items() if name not in _SECRETS}
    variables = {"PGPASSWORD": options["password"]} if "password" in options else {}
    return make_conninfo("", **shown), variables
