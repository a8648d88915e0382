"""What is done about single people, by their phones: stopped, brought back, passed over a step, blocked."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from seqdev.output.columns import Aged, Prose
from seqdev.output.text import Phone
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.jobs import Job
from seqdev.repair.plan import PlanRow


@dataclass(frozen=True)
class BlockedPhone:
    """A row of ``repair/blocked.sql``."""

    brief: ClassVar[tuple[str, ...]] = ("phone", "since", "why", "blocked_by", "user_id")

    phone: Phone
    user_id: UUID | None
    since: Aged
    why: Prose | None
    blocked_by: str | None
    total: int


STOP = Query("repair/stop.sql", PlanRow)
RESUME = Query("repair/resume.sql", PlanRow)
SKIP = Query("repair/skip.sql", PlanRow)
RESTART = Query("repair/restart.sql", PlanRow)
UNBLOCK = Query("repair/unblock.sql", PlanRow)
BLOCKED = Query("repair/blocked.sql", BlockedPhone)


@dataclass(frozen=True)
class People:
    """People by their phones, out of links; of one user or all, in one sequence or all."""

    phones: tuple[str, ...]
    user: UUID | None = None
    sequence: UUID | None = None

    @property
    def given(self) -> dict[str, Any]:
        """As parameters of a statement."""
        return {"phones": self.phones, "user": self.user, "sequence": self.sequence}


def stop(people: People, why: str, keep_queued: bool) -> Job:
    """Nothing more is sent to them: their rows to come are stopped, their messages cancelled."""
    return Job(
        "contacts stop",
        STOP,
        {"words": f"stopped: {why}", "keep_queued": keep_queued, **_listed(False, "", ""), **people.given},
        settles=True,
        nobody="nothing is to come for that phone",
    )


def resume(people: People) -> Job:
    """What was stopped of them goes on."""
    return Job("contacts resume", RESUME, people.given, nobody="nothing of that phone is stopped")


def skip(people: People) -> Job:
    """The step that is to come is passed over."""
    nobody = "no step is to come for that phone"
    return Job("contacts skip", SKIP, people.given, whole=True, nobody=nobody)


def restart(people: People, why: str) -> Job:
    """They begin the sequence again, from its first step."""
    nobody = "that phone is not in the sequence, and was not: seqdev enroll"
    facts = {"why": why}
    return Job("contacts restart", RESTART, people.given, facts=facts, whole=True, nobody=nobody)


def block(people: People, why: str, who: str, keep_queued: bool) -> Job:
    """They are never written to again: put on the list, and stopped."""
    return Job(
        "block add",
        STOP,
        {
            "words": f"blocked: {why}",
            "keep_queued": keep_queued,
            **_listed(True, why, who),
            **people.given,
        },
        settles=True,
    )


def unblock(people: People) -> Job:
    """They may be written to again; what was stopped stays so."""
    given = {"phones": people.phones, "user": people.user}
    return Job("block remove", UNBLOCK, given, nobody="none of these phones is blocked")


def list_blocked(database: Database, user: str | None, most: int | None) -> list[BlockedPhone]:
    """The phones that are blocked, for ``user`` and for all, the latest first."""

    def work(tx: Transaction) -> list[BlockedPhone]:
        owner = lookup.resolve(tx, lookup.Kind.USER, user, beginning=True) if user is not None else None
        return tx.rows(BLOCKED, user=owner, most=most)

    return database.retry(work, read_only=True)


def _listed(blocks: bool, why: str, who: str) -> dict[str, Any]:
    return {"blocks": blocks, "why": why, "blocked_by": who}
