"""Whether seqdev can work on a database, and what brings it there."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta

from seqdev.errors import SchemaError
from seqdev.postgres import indexes, zone
from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Checked, Finding
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import meanings

REPEAT_BATCH = 10_000
"""Rows a transaction of a remedy that is run until it touches no more rows."""

CHECK_TIMEOUT = timedelta(minutes=1)
"""How long the look at the catalogues may take before a command writes."""


CHECK = Query("postgres/check.sql", Checked)
CHECK_UNSUPPORTED = Query("postgres/check_unsupported.sql", Finding)
CHECK_DATA = Query("postgres/check_data.sql", Finding)
CHECK_MESSAGES = Query("postgres/check_messages.sql", Finding)
CHECK_ZONE = Query("postgres/check_zone.sql", Finding)
CHECK_STATUSES = Query("postgres/check_statuses.sql", Finding)
FILL_STEPS: Query[None] = Query("postgres/fill_steps.sql", type(None))
INIT: tuple[Query[None], ...] = tuple(
    Query(f"postgres/init/{table}.sql", type(None))
    for table in (
        "users",
        "user_devices",
        "leads",
        "sequences",
        "sequence_steps",
        "sequence_contacts",
        "broadcast_messages",
    )
)
"""The host's tables, in the order of their foreign keys."""


def check(database: Database) -> list[Finding]:
    """Every finding, also those that are ok. The data is looked at once the tables are right."""

    def work(transaction: Transaction) -> list[Finding]:
        checked = indexes.judge(transaction, transaction.rows(CHECK, schema=database.settings.schema))
        found = [Finding(one.item, one.status, one.why, one.remedy, one.mode) for one in checked]
        found += transaction.rows(CHECK_UNSUPPORTED, schema=database.settings.schema)
        # A standby lacks nothing but writability, so its data can be looked at.
        if not any(finding.blocks and finding.item != "server writable" for finding in found):
            found += transaction.rows(CHECK_DATA)
            found += _look(transaction, CHECK_MESSAGES)
            found += transaction.rows(CHECK_ZONE, kept=zone.kept(transaction) or "")
            found += transaction.rows(CHECK_STATUSES, **meanings(database.settings))
        return found

    return database.retry(work, read_only=True)


def _look(transaction: Transaction, query: Query[Finding]) -> list[Finding]:
    """The rows of ``query``; or that the role may not read what it looks at."""
    import psycopg

    try:
        with transaction.savepoint():
            return transaction.rows(query)
    except psycopg.errors.InsufficientPrivilege:
        item = query.statement.title
        return [Finding(item, "ok", "not looked at: this role may not read all of it", None, None)]


def require(database: Database) -> None:
    """Raise SchemaError, naming the command that helps, unless seqdev can write here."""
    # Not by the configured time limit, which is for statements over the host's rows.
    schema = database.settings.schema
    found = database.retry(
        lambda tx: [*tx.rows(CHECK, schema=schema), *tx.rows(CHECK_UNSUPPORTED, schema=schema)],
        read_only=True,
        statement_timeout=CHECK_TIMEOUT,
    )
    blocking = [finding for finding in found if finding.blocks]
    if not blocking:
        return
    first = blocking[0]
    others = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    raise SchemaError(f"seqdev cannot write here: {first.item} is {first.status}{others}", _help(blocking))


def _help(blocking: Sequence[Finding]) -> str:
    host_tables = [
        f for f in blocking if f.status == "missing" and f.remedy is None and "unique" not in f.item
    ]
    if len(host_tables) >= len(INIT):
        return "no tables of the host here: seqdev db init makes them, or name another database or --schema"
    if all(finding.remedy for finding in blocking):
        return "see the plan and bring it up to date: seqdev db upgrade"
    return "see what is missing: seqdev db check"


def pending(findings: list[Finding]) -> list[Finding]:
    """The findings that an upgrade would do something about, in the order it would."""
    return [finding for finding in findings if finding.remedy]


def upgrade(database: Database, plan: list[Finding], say: Callable[[str], None]) -> Iterator[Finding]:
    """Run the remedies of ``plan``, each in a transaction of its own; yields what was done.

    Ended at any point, a second run goes on where the first stopped: its plan is what is still pending.
    """
    for finding in plan:
        assert finding.remedy is not None
        say(f"upgrade: {finding.item}")
        _apply(database, finding.remedy, finding.mode)
        yield finding


def following(database: Database, done: Collection[Finding]) -> list[Finding]:
    """What is pending after ``done``: an index dropped since it was invalid, to be made, for example.

    Raises SchemaError when a remedy did not remedy.
    """
    plan = pending(check(database))
    remedies = {finding.remedy for finding in done}
    for finding in plan:
        if finding.remedy in remedies:
            raise SchemaError(
                f"{finding.item} is still {finding.status} after the upgrade", "see: seqdev db check"
            )
    return plan


def _apply(database: Database, remedy: str, mode: str | None) -> None:
    if mode == "autocommit":
        database.autocommit(remedy)
    elif mode == "repeat":
        while database.retry(lambda tx: tx.execute(FILL_STEPS, batch=REPEAT_BATCH)):
            pass
    else:
        database.retry(lambda tx: tx.ddl(remedy))


def init(database: Database) -> None:
    """Create the host's tables on an empty database; seqdev's own come with the upgrade.

    Raises SchemaError when a table of the host is there already.
    """
    found = check(database)
    tables = {finding.item for finding in found if "." in finding.item and finding.status != "missing"}
    there = sorted({item.split(".")[0] for item in tables})
    if there:
        raise SchemaError(
            f"not an empty database: it has {', '.join(there[:3])}",
            "to work on it as it is: seqdev db upgrade",
        )
    for finding in found:
        if finding.status == "wrong":
            raise SchemaError(f"{finding.item} is wrong: {finding.why}", "see: seqdev db check")

    def work(transaction: Transaction) -> None:
        for query in INIT:
            transaction.execute(query)

    database.retry(work)
