"""Whether seqdev can work on a database, and what brings it there."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from seqdev.errors import PermissionRefused, SchemaError, SeqdevError
from seqdev.postgres import citus, indexes, places, replica, strange, zone
from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Checked, Finding
from seqdev.postgres.places import By
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import meanings

CHECK_TIMEOUT = timedelta(minutes=1)
"""How long the look at the catalogues may take before a command writes."""

_WRITABLE = "server writable"
_UPGRADE = "seqdev db upgrade"
_DUPLICATE_LEADS = ("leads unique (phone, user_id)", "leads: one per user and phone")
"""The key that duplicate leads keep from being made, and the finding that they are there."""


@dataclass(frozen=True)
class Lack:
    """A row of ``postgres/rights.sql``: what the role may not do."""

    may_not: str


CHECK = Query("postgres/check.sql", Checked)
CHECK_UNSUPPORTED = Query("postgres/check_unsupported.sql", Finding)
OWNERS = Query("postgres/owners.sql", Finding)
DUPLICATES = Query("postgres/duplicates.sql", Finding)
CHECK_DATA = Query("postgres/check_data.sql", Finding)
CHECK_MESSAGES = Query("postgres/check_messages.sql", Finding)
CHECK_LENGTHS = Query("postgres/check_lengths.sql", Finding)
CHECK_ZONE = Query("postgres/check_zone.sql", Finding)
CHECK_STATUSES = Query("postgres/check_statuses.sql", Finding)
RIGHTS = Query("postgres/rights.sql", Lack)
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


def check(database: Database, by: By | None = None) -> list[Finding]:
    """Every finding, also those that are ok; the upgrade would place contacts by ``by``.

    Rows are looked at where they can be read: first what an upgrade has to know of them, and once the tables
    are right, what commands would misread.
    """
    schema = database.settings.schema

    def work(transaction: Transaction) -> list[Finding]:
        checked = indexes.judge(transaction, _catalogue(transaction))
        found = [*citus.distribution(transaction), *checked, *transaction.rows(OWNERS, schema=schema)]
        found += transaction.rows(CHECK_UNSUPPORTED, schema=schema)
        # A standby lacks nothing but writability, so its data can be looked at.
        if all(finding.item == _WRITABLE for finding in beyond_help(found)):
            if any(finding.blocks and " unique " in finding.item for finding in found):
                found += transaction.rows(DUPLICATES)
            found.append(places.look(transaction, by, transaction.settings.done_statuses))
        if all(finding.item == _WRITABLE for finding in found if finding.blocks):
            found += transaction.rows(CHECK_DATA)
            found += _look(transaction, CHECK_MESSAGES)
            found += _look(transaction, CHECK_LENGTHS)
            found += transaction.rows(CHECK_ZONE, kept=zone.kept(transaction) or "")
            found += transaction.rows(CHECK_STATUSES, **meanings(transaction.settings))
            if transaction.distributed:
                found += transaction.rows(citus.CHECK_NODES)
        return found

    return database.retry(work, read_only=True)


def _catalogue(transaction: Transaction) -> list[Checked]:
    schema = transaction.settings.schema
    return transaction.rows(CHECK, schema=schema, distributed=transaction.distributed)


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
    _refuse(database, _blocking(database))


def require_but_duplicates(database: Database) -> None:
    """``require`` for what takes duplicate leads away: the key of the leads may be missing."""
    _refuse(database, but_duplicates(_blocking(database)), rest=True)


def but_duplicates(findings: list[Finding]) -> list[Finding]:
    """``findings`` without the key that duplicate leads keep from being made, and without them."""
    return [one for one in findings if not (one.item in _DUPLICATE_LEADS and one.blocks)]


def _blocking(database: Database) -> list[Finding]:
    schema = database.settings.schema

    def work(transaction: Transaction) -> list[Finding]:
        found = [*transaction.rows(OWNERS, schema=schema), *_catalogue(transaction)]
        return [*citus.distribution(transaction), *found, *transaction.rows(CHECK_UNSUPPORTED, schema=schema)]

    # Not by the configured time limit, which is for statements over the host's rows.
    found = database.retry(work, read_only=True, statement_timeout=CHECK_TIMEOUT)
    return [finding for finding in found if finding.blocks]


def not_the_hosts(database: Database) -> strange.Words | None:
    """Why ``database`` does not look like the host's, and what to do; None where it does."""
    return database.retry(
        lambda tx: strange.look(tx, database.settings.schema), read_only=True, statement_timeout=CHECK_TIMEOUT
    )


def _refuse(database: Database, blocking: list[Finding], rest: bool = False) -> None:
    """Raise SchemaError where anything is ``blocking``. ``rest``: the key of the leads may come later."""
    if not blocking:
        return
    if any(one.item == _WRITABLE for one in blocking):
        raise replica.refusal()
    if words := not_the_hosts(database):
        raise SchemaError(words.what, words.help)
    first = blocking[0]
    if isinstance(first, citus.Spread) and not first.remedy:
        raise SchemaError(
            f"seqdev cannot write here: Citus has not {first.item} as it should be",
            f"see all of it: seqdev db check; by hand, with seqdev paused: {first.statement}",
        )
    others = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    help_ = _help(blocking)
    if rest and help_.endswith(_UPGRADE):
        help_ += ", with --leave-duplicates if there are duplicate leads"
    raise SchemaError(f"seqdev cannot write here: {first.item} is {first.status}{others}", help_)


def require_trusted(database: Database) -> None:
    """Raise SchemaError where others could put code into seqdev's own schema.

    For what has to work where ``require`` refuses: the pause switch, and whatever only reads. A view in there
    would run its code with the reader's rights.
    """
    found = database.retry(
        lambda tx: tx.rows(OWNERS, schema=database.settings.schema),
        read_only=True,
        statement_timeout=CHECK_TIMEOUT,
    )
    if found:
        raise SchemaError(f"seqdev cannot work here: {found[0].item} is wrong", "see: seqdev db check")


def _help(blocking: Sequence[Finding]) -> str:
    if all(finding.remedy for finding in blocking):
        return f"see the plan and bring it up to date: {_UPGRADE}"
    return "see what is missing: seqdev db check"


def pending(findings: list[Finding]) -> list[Finding]:
    """The findings that an upgrade would do something about, in the order it would."""
    return [finding for finding in findings if finding.remedy]


def only_standby(findings: list[Finding]) -> bool:
    """Whether all that keeps commands from writing is that the server is a standby."""
    blocking = [one.item for one in findings if one.blocks]
    return blocking == [_WRITABLE]


def beyond_help(findings: list[Finding]) -> list[Finding]:
    """The findings for which commands that write refuse, and which no upgrade changes."""
    return [finding for finding in findings if finding.blocks and not finding.remedy]


def require_rights(database: Database, plan: list[Finding]) -> None:
    """Raise PermissionRefused where the role may not do a part of ``plan``."""
    lacks = database.retry(
        lambda tx: tx.rows(RIGHTS, remedies=[finding.remedy for finding in plan]), read_only=True
    )
    if lacks:
        others = f", and {len(lacks) - 1} more" if len(lacks) > 1 else ""
        raise PermissionRefused(
            f"nothing was changed: the database role may not {lacks[0].may_not}{others}",
            "make it a member of the owner: seqdev db grants owner --to ROLE",
        )


def upgrade(
    database: Database, plan: list[Finding], by: By | None, say: Callable[[str], None]
) -> Iterator[Finding]:
    """Run the remedies of ``plan``, each in a transaction of its own; yields what was done.

    Ended at any point, a second run goes on where the first stopped: its plan is what is still pending.
    """
    for finding in plan:
        assert finding.remedy is not None
        say(f"upgrade: {finding.item}")
        if finding.mode == "autocommit":
            _make_index(database, finding, finding.remedy)
        elif finding.mode == "repeat":
            places.fill(database, by)
        else:
            _change(database, finding.remedy)
        yield finding


def following(database: Database, done: Collection[Finding], by: By | None = None) -> list[Finding]:
    """What is pending after ``done``: an index dropped since it was invalid, to be made, for example.

    Raises SchemaError when a remedy did not remedy.
    """
    plan = pending(check(database, by))
    remedies = {finding.remedy for finding in done}
    for finding in plan:
        if finding.remedy in remedies:
            raise SchemaError(
                f"{finding.item} is still {finding.status} after the upgrade", "see: seqdev db check"
            )
    return plan


def _change(database: Database, remedy: str) -> None:
    database.retry(lambda tx: tx.ddl(remedy))


def _make_index(database: Database, finding: Finding, remedy: str) -> None:
    """Make an index, or drop one. Where that fails, what the server leaves behind of it goes."""
    try:
        database.autocommit(remedy)
    except SeqdevError:
        with suppress(SeqdevError):
            for now in check(database):
                # Not one that another session is making.
                if isinstance(now, Checked) and now.item == finding.item and now.remedy == now.unmake:
                    database.autocommit(now.unmake or "")
        raise


def distribute(database: Database) -> Iterator[Finding]:
    """Let Citus distribute the host's tables, for those that are empty; yields what was done."""
    for one in database.retry(citus.pending, read_only=True):
        assert one.statement is not None
        _change(database, one.statement)
        yield one


def init(database: Database) -> None:
    """Create the host's tables on an empty database; seqdev's own come with the upgrade.

    Raises SchemaError when a table of the host is there already.
    """
    found = check(database)
    items = {one.item for one in found if isinstance(one, Checked) and one.status != "missing"}
    there = sorted({item.split(".")[0] for item in items if "." in item})
    wrong = [finding for finding in found if finding.status == "wrong"]
    if there:
        words = not_the_hosts(database)
        raise SchemaError(
            f"not an empty database: it has {', '.join(there[:3])}"
            + (f"; {words.what.split(':')[0]}: {database.name}" if words else ""),
            words.help if words else "to work on it as it is: seqdev db upgrade",
        )
    if wrong:
        raise SchemaError(f"{wrong[0].item} is wrong: {wrong[0].why}", "see: seqdev db check")

    def work(transaction: Transaction) -> None:
        for query in INIT:
            transaction.execute(query)

    database.retry(work)
