"""Gates: what is decided once for every statement of a transaction, and handed on as values.

Whether a device may send and how much, whether a step may be sent, and what the error of a message tells
stands in the files below ``sql/gates/`` and nowhere else. Their rows are not for Python to read: each column
is the text of an array, which the statements that need it take as a parameter of the same name.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from seqdev.errors import UsageError
from seqdev.gate_rows import (
    AGAIN,
    BLOCKED,
    CAUSES,
    DEVICES,
    HOST_HOURS,
    PERSONS,
    PHONE_ZONES,
    RAMPS,
    SENT,
    SPREAD,
    STEPS,
    WINDOWS,
    ZONES,
    Ramps,
    Sent,
    Spread,
    Windows,
)
from seqdev.parameters import RAMPS as RAMPED
from seqdev.parameters import capacity, ramps, restricted
from seqdev.phone import national
from seqdev.postgres.queries import Query, Row
from seqdev.postgres.zone import READABLE
from seqdev.settings import Policy, Settings

if TYPE_CHECKING:
    from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Asked:
    """Which devices are asked about, how far messages are counted, and whether for people (see the file).

    Without ``devices`` and ``users``: all. ``at``: as if it were this instant; None: that of the transaction.
    """

    devices: Iterable[UUID] = ()
    users: Iterable[UUID] = ()
    counted: str = "limit"
    told: bool = True
    at: datetime | None = None


ALL = Asked()

Answers = Mapping[str, str]
"""The row of a gate by column, as parameters of the statements that take it."""


_NO_ZONES = {"zones": "{}", "phone_prefixes": "{}", "phone_zones": "{}"}
NO_WINDOWS: Answers = {one.name: "{}" for one in fields(Windows)}
"""The answer of the windows' gate where nothing has hours."""
_zones: dict[str, str] = {}
"""What the zones' gates have answered: each asked once a process, and only where a window needs it."""


def zones(transaction: "Transaction") -> Answers:
    """The time zones that the server knows."""
    if "zones" not in _zones:
        _zones.update(asdict(transaction.one(ZONES)))
    return _zones


def phone_zones(transaction: "Transaction") -> Answers:
    """Those, and the zones of phones: thousands, for windows that are their recipients' alone."""
    if "phone_zones" not in _zones:
        _zones.update(asdict(transaction.one(PHONE_ZONES)))
    return zones(transaction)


def windows(
    transaction: "Transaction",
    settings: Settings,
    ahead: Iterable[UUID] = (),
    phone: str = "",
    *,
    closing: bool = False,
) -> Answers:
    """Which steps are shut by their hours now, and which are open to a part of their recipients.

    ``ahead``: only those of these sequences, for the recipient whose digits ``phone`` is, and when they open.
    ``closing``: also when the open ones close, if that is soon.
    """
    return _windows(transaction, settings, ahead=list(ahead), phone=phone, closing=closing)


@dataclass(frozen=True)
class Then:
    """Windows of the past: at which instant, of which sequences, for the recipient with which digits.

    ``instead``: the window that stood then, where the rule is another now; empty: it is as it was.
    """

    at: datetime
    ahead: Iterable[UUID]
    phone: str
    instead: str = ""


def windows_at(transaction: "Transaction", settings: Settings, then: Then) -> Answers:
    """The same ahead, as if it were an instant of the past."""
    return _windows(
        transaction, settings, now=then.at, ahead=list(then.ahead), phone=then.phone, instead=then.instead
    )


def windows_within(
    transaction: "Transaction", settings: Settings, within: timedelta, instead: str | None = None
) -> Answers:
    """When windows open and shut ``within`` that time from now, for every zone that recipients may be in.

    ``instead``: a window that stands in for those of all sequences; empty: always open; None: none does.
    """
    if instead is None and not has_hours(transaction, settings):
        return NO_WINDOWS
    always = "daily 00:00-24:00"
    stands_in = "" if instead is None else instead or always
    return _windows(transaction, settings, within=within, instead=stands_in)


def _windows(transaction: "Transaction", settings: Settings, **asked: object) -> Answers:
    given = {
        "now": transaction.now,
        "window": settings.window,
        "zone": settings.zone,
        "host_columns": settings.host_columns,
        **asked,
    }
    found = transaction.one(WINDOWS, **_NO_ZONES | _zones, **given)
    if found.unknown_zones != "{}":
        # What is named although it was given is known to nobody.
        before = len(_zones)
        (phone_zones if "recipient" in found.unknown_zones else zones)(transaction)
        if len(_zones) > before:
            found = transaction.one(WINDOWS, **_NO_ZONES | _zones, **given)
    return asdict(found)


def steps(transaction: "Transaction", settings: Settings, *, timed: bool = False) -> Answers:
    """Which steps may be sent, why the others are not, and what follows each.

    Where the settings are for the users of one policy, only theirs are active. ``timed``: now, by their
    hours; else at any time.
    """
    hours: Answers = {"shut_steps": "{}", "recipient_hours": "{}"}
    if timed and has_hours(transaction, settings):
        hours = windows(transaction, settings)
    found = transaction.one(
        STEPS,
        now=transaction.now,
        active=settings.active_statuses,
        default_delay=settings.default_delay,
        of_policy=settings.policy if settings.usual else "",
        usual_policy=settings.usual or settings.policy,
        priority=settings.host_columns and _has_limits(settings),
        **handed_to(STEPS, hours),
    )
    return asdict(found) | {"recipient_hours": hours["recipient_hours"]}


def has_hours(transaction: "Transaction", settings: Settings) -> bool:
    """Whether there is a window, by a rule or by a column of the host's."""
    return settings.rules_on("window") or (settings.host_columns and transaction.one(HOST_HOURS).has_hours)


def _has_limits(settings: Settings) -> bool:
    """Whether the devices of some of these users may not have room for all."""
    policies = [settings.policy] if settings.usual else settings.policies_in_use
    return any(policy is not Policy.QUEUE for policy in policies)


def shuts(steps: Answers) -> bool:
    """Whether there are people, by the answer of the steps' gate, who are outside their window."""
    return steps["recipient_hours"] != "{}" or "outside_window" in steps["step_reasons"]


def chooses(devices: Answers) -> bool:
    """Whether a device, by the answer of their gate, may open fewer chats than it takes: some are chosen."""
    return devices["few_chats"] == "true"


def limits_chats(devices: Answers) -> bool:
    """Whether a device, by the answer of their gate, may open only so many chats, even if it has no room."""
    return any(room.isdigit() for room in devices["new_rooms"])


def knows_blocked(transaction: "Transaction") -> bool:
    """Whether there is a list of phones that are never written to: not before the upgrade."""
    return transaction.one(READABLE).blocked


def blocked(transaction: "Transaction", *, must: bool) -> Answers:
    """Which phones are never written to.

    ``must``: whoever writes has to know. Where the list is not there, who only reads takes it to be empty.
    """
    if not must and not knows_blocked(transaction):
        return {"blocked_digits": "{}", "blocked_users": "{}"}
    return asdict(transaction.one(BLOCKED))


def devices(
    transaction: "Transaction",
    settings: Settings,
    policy: Policy,
    asked: Asked = ALL,
) -> Answers:
    """Which devices may send under ``policy``, why the others may not, and how much room each has.

    Raises UsageError for a rule for a device or user that cannot be read: it never means that there is none.
    """
    given: dict[str, object] = {
        "now": asked.at or transaction.now,
        "failed": settings.failed_statuses,
        "asked": list(asked.devices),
        "users": list(asked.users),
        "counted": asked.counted,
    }
    sent = Sent()
    if asked.counted == "all" or (asked.counted == "limit" and policy is not Policy.QUEUE):
        sent = transaction.one(
            SENT,
            policy=policy.value,
            max_in_flight=settings.max_in_flight,
            max_per_hour=settings.max_per_hour,
            max_per_day=settings.max_per_day,
            **given,
        )
    counted = Ramps()
    # Uncounted, only a grace may decide, and only where others take the people of a device that is away.
    ramped = RAMPED if asked.counted != "no" else ("grace",) if policy.moves else ()
    if policy is not Policy.QUEUE and settings.rules_on(*ramped):
        counted = transaction.one(RAMPS, **given, **ramps(settings))
    laid_out = spread(transaction, settings, policy, asked)
    found = transaction.one(
        DEVICES,
        policy=policy.value,
        online=settings.online_statuses,
        gone=settings.gone_statuses,
        told=asked.told,
        **given,
        **capacity(settings),
        **handed_to(DEVICES, asdict(sent), asdict(counted), asdict(laid_out)),
    )
    unread = [
        *json.loads(counted.unread_ramps),
        *json.loads(laid_out.unread_spreads),
        *json.loads(found.unread_rules),
    ]
    for name, scope, whose, value in unread[:1]:
        raise UsageError(
            f"the database's rule {name} of the {scope} {whose} cannot be {value!r}",
            f"set it anew: seqdev rules set {name} VALUE --{scope} {whose}; "
            f"or take it away: seqdev rules unset {name} --{scope} {whose}",
        )
    return {"paces": laid_out.paces, **asdict(counted), **asdict(found)}


def spread(transaction: "Transaction", settings: Settings, policy: Policy, asked: Asked) -> Spread:
    """Which devices lay their messages out, and where the next one goes: asked before each claim.

    Nothing without that rule, uncounted, and under a policy without limits.
    """
    if policy is Policy.QUEUE or asked.counted == "no" or not settings.rules_on("spread"):
        return Spread()
    hours: Answers = {"closing_users": "{}", "closing_ats": "{}"}
    if has_hours(transaction, settings):
        hours = windows(transaction, settings, closing=True)
    # Only their delays count, and those are the host's.
    active: Answers = {"active_sequences": "{}"}
    if settings.host_columns:
        active = steps(transaction, settings)
    return transaction.one(
        SPREAD,
        now=transaction.now,
        failed=settings.failed_statuses,
        asked=list(asked.devices),
        users=list(asked.users),
        counted=asked.counted,
        max_per_hour=settings.max_per_hour,
        spread=settings.spread,
        host_columns=settings.host_columns,
        **handed_to(SPREAD, hours, active),
    )


def persons(transaction: "Transaction", settings: Settings, given: Mapping[str, object]) -> Answers:
    """Which leads are refused since another is the same person, of those that ``given`` narrows it to."""
    known = PERSONS.statement.parameters
    narrowed = {name: value for name, value in given.items() if name in known}
    return asdict(
        transaction.one(
            PERSONS, **narrowed, **national(settings.region), **needed_by(PERSONS, transaction, settings)
        )
    )


def again(transaction: "Transaction", settings: Settings, given: Mapping[str, object]) -> Answers:
    """Which leads may enter again what they have finished, of those that ``given`` narrows it to."""
    known = AGAIN.statement.parameters
    return asdict(
        transaction.one(
            AGAIN,
            now=transaction.now,
            reenrol_after=settings.reenrol_after,
            waiting=settings.waiting_statuses,
            done=settings.done_statuses,
            **{name: value for name, value in given.items() if name in known},
            **needed_by(AGAIN, transaction, settings),
        )
    )


def needed_by(query: Query[Row], transaction: "Transaction", settings: Settings) -> Answers:
    """What the gates of the file of ``query`` answer, of all devices, as its parameters."""
    wanted = steps(transaction, settings) if asks_steps(query) else {}
    return handed_to(
        query, wanted, devices_for(query, transaction, settings), causes_for(query, transaction, settings)
    )


def asks_steps(query: Query[Row]) -> bool:
    """Whether the file of ``query`` takes the answer of the steps' gate."""
    return STEPS.path in query.statement.gates


def devices_for(
    query: Query[Row],
    transaction: "Transaction",
    settings: Settings,
    asked: Asked = ALL,
) -> Answers:
    """What the devices' gate answers, under the policy and with the counts that the file of ``query`` sets.

    Nothing where it does not ask.
    """
    statement = query.statement
    if DEVICES.path not in statement.gates:
        return {}
    asked = replace(asked, counted=statement.asks.get("counted", asked.counted))
    return devices(transaction, settings, Policy(statement.asks["policy"]), asked)


def causes_for(query: Query[Row], transaction: "Transaction", settings: Settings) -> Answers:
    """What errors of messages tell. Nothing where the file of ``query`` does not ask."""
    if CAUSES.path not in query.statement.gates:
        return {}
    return asdict(transaction.one(CAUSES, restricted=restricted(settings)))


def handed_to(query: Query[Row], *answers: Answers) -> Answers:
    """Of the answers, those that the file of ``query`` takes as parameters."""
    wanted = query.statement.parameters
    return {name: value for answer in answers for name, value in answer.items() if name in wanted}
