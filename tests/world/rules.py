"""Random rules: each is set in the database and in the model alike. A new rule is a line of RULES."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.world.host import Host
from tests.world.model import DAY, HOUR, Model

LIMIT = ("device", "user", "all")
ALL = ("all",)


@dataclass(frozen=True)
class Drawn:
    """A rule: its name in the model's Limits, for whom it can be set, its texts and what they mean.

    Unset for all, it is what the model's Limits have it at first.
    """

    field: str
    scopes: tuple[str, ...]
    values: Mapping[str, Any]


_FEW = {str(number): number for number in (0, 1, 2, 5, 9)}
_SWITCH = {"true": True, "false": False}
RULES: Mapping[str, Drawn] = {
    "max_in_flight": Drawn("in_flight", LIMIT, _FEW),
    "max_per_hour": Drawn("hour", LIMIT, _FEW),
    "max_per_day": Drawn("day", LIMIT, _FEW),
    "spread": Drawn("spread", ("user", "all"), _SWITCH),
    "warm_up": Drawn("warm_up", LIMIT, {"1 +1": (1, 1), "2 +3": (2, 3), "0 +1": (0, 1), "none": None}),
    "new_chats_per_day": Drawn("new_chats", LIMIT, {"0": 0, "1": 1, "2": 2, "4": 4, "none": None}),
    "grace": Drawn("grace", LIMIT, {"2h": 2 * HOUR, "3d": 3 * DAY, "30d": 30 * DAY, "0s": 0}),
    "restricted_errors": Drawn(
        "restricted",
        ALL,
        {"463": ("463",), "no such number": ("no such number",), "46,reach": ("reach",), "": ()},
    ),
    "default_delay": Drawn("default_delay", ALL, {"1h": HOUR, "90m": 90, "3d": 3 * DAY}),
    "max_lateness": Drawn("max_lateness", ALL, {"2h": 2 * HOUR, "3d": 3 * DAY, "30d": 30 * DAY, "0s": 0}),
    "without_lead": Drawn("without_lead", ALL, _SWITCH),
    "claim_timeout": Drawn("claim_timeout", ALL, {"2h": 2 * HOUR, "1m": 1, "3d": 3 * DAY}),
    "failed_within": Drawn("failed_within", ALL, {"2h": 2 * HOUR, "3d": 3 * DAY, "30d": 30 * DAY}),
    "gone_statuses": Drawn("gone", ALL, {"banned": ("banned",), "deleted": ("deleted",)}),
    "host_columns": Drawn("host_columns", ALL, _SWITCH),
    "return_home": Drawn("return_home", ("user", "all"), _SWITCH),
    "reenrol_after": Drawn("reenrol_after", ("sequence", "all"), {"1h": HOUR, "2d": 2 * DAY, "0s": 0}),
}


def draw_rule(rng: random.Random, model: Model, host: Host) -> None:
    """Set a rule of RULES, or take it away, for somebody."""
    name = rng.choice(list(RULES))
    drawn = RULES[name]
    device = rng.choice(list(model.devices))
    whom = {
        "device": device,
        "user": model.devices[device].user,
        "sequence": rng.choice(list(model.sequences)),
    }
    scope = rng.choice(drawn.scopes)
    text = rng.choice([None, *drawn.values])
    set_rule((name, text), {} if scope == "all" else {scope: whom[scope]}, model, host)


def set_rule(ruled: tuple[str, str | None], whose: Mapping[str, UUID], model: Model, host: Host) -> None:
    """Set the rule of that name to a text of RULES, or unset it with None: for all, or for whom ``whose`` says."""
    name, text = ruled
    drawn = RULES[name]
    host.rule(name, text, **whose)
    if not whose:
        value = getattr(type(model.limits), drawn.field) if text is None else drawn.values[text]
        setattr(model.limits, drawn.field, value)
        return
    (whom,) = whose.values()
    if text is None:
        model.narrower.pop((drawn.field, whom), None)
    else:
        model.narrower[drawn.field, whom] = drawn.values[text]
