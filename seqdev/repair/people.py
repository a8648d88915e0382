"""What is done about single people, by their phones: stopped, brought back, passed over a step."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from seqdev.postgres.queries import Query
from seqdev.repair.jobs import Job
from seqdev.repair.plan import PlanRow

STOP = Query("repair/stop.sql", PlanRow)
RESUME = Query("repair/resume.sql", PlanRow)
SKIP = Query("repair/skip.sql", PlanRow)


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
        {"words": f"stopped: {why}", "keep_queued": keep_queued, **people.given},
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
