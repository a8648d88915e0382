"""Which device owns which lead: leads without one get one, and what devices own is evened out."""

from uuid import UUID

from seqdev.repair import Job
from seqdev.repair_plan import PlanRow
from seqdev.sql import Query

PLAN = Query("assign/plan.sql", PlanRow)


def assign(distribute: bool, rebalance: bool, user: UUID | None) -> Job:
    """Leads without a device are spread evenly; with ``rebalance`` the fewest others move to even it out."""
    options = "".join(
        f" --{name}" for name, given in (("distribute", distribute), ("rebalance", rebalance)) if given
    )
    return Job(
        f"leads assign{options}", PLAN, {"distribute": distribute, "rebalance": rebalance, "user": user}
    )
