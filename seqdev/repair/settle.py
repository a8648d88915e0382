"""Plans that are made again until nothing is left to change: ticks and senders go on meanwhile."""

import time
from collections.abc import Callable

from seqdev.journal.runs import Run
from seqdev.output.tables import LISTED
from seqdev.repair.apply import Manner, Outcome, apply
from seqdev.repair.jobs import Job, make_plan
from seqdev.repair.plan import Plan

_FRUITLESS = 5
"""Plans in a row of which nothing can be changed, since others hold it, after which it is left."""

_PAUSE = 0.2
"""Seconds between two of them."""


def settle(
    run: Run, job: Job, plan: Plan, manner: Manner, progress: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Carry out ``plan``; where ``job`` settles, what has come of its people since, too.

    A tick that holds a row when the plan is made has it done before the row is looked at: its message, and
    the row of the next step, are in the plan after that. What nobody sees yet nobody holds: so the plan that
    finds nothing ends it. A plan from a file is carried out as it is.
    """
    outcome = apply(run, plan, manner, job.facts, progress)
    if manner.strict or not job.settles:
        return outcome
    outcome.overtaken, outcome.kept, outcome.listed = outcome.kept, 0, []
    with Plan(plan.header) as rest:
        fruitless = 0
        while run.ended is None:
            make_plan(run.database, job, rest)
            if not rest.changes or fruitless == _FRUITLESS:
                break
            more = apply(run, rest, manner, job.facts, progress)
            outcome.changed += more.changed
            outcome.seconds += more.seconds
            fruitless = 0 if more.changed else fruitless + 1
            if fruitless:
                time.sleep(_PAUSE)
        known = {row.row_id for row in plan.rows() if row.refused}
        left = [row for row in rest.rows() if row.row_id not in known]
        outcome.kept, outcome.listed = len(left), left[:LISTED]
    run.counts = {
        **run.counts,
        "planned": plan.changes,
        "people": plan.people,
        "changed": outcome.changed,
        "kept": outcome.kept,
        "refused": plan.refused.total(),
    }
    return outcome
