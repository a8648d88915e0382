"""The rows of the gates: each column is the text of an array, a parameter of the statements that take it."""

from dataclasses import dataclass

from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Steps:
    """The row of ``gates/steps.sql``."""

    steps: str
    step_sequences: str
    step_users: str
    step_reasons: str
    step_faults: str
    step_pauses: str
    step_pause_ends: str
    entry_triggers: str
    next_triggers: str
    next_steps: str
    next_step_days: str
    next_step_hours: str
    active_sequences: str
    priorities: str


@dataclass(frozen=True)
class Windows:
    """The row of ``gates/windows.sql``."""

    shut_steps: str
    timed_steps: str
    timed_opens: str
    timed_words: str
    timed_windows: str
    change_windows: str
    change_zones: str
    change_instants: str
    change_opens: str
    zoned_prefixes: str
    zoned_zones: str
    recipient_hours: str
    closing_users: str
    closing_ats: str
    unknown_zones: str


@dataclass(frozen=True)
class HostHours:
    """The row of ``gates/host_hours.sql``."""

    has_hours: bool


@dataclass(frozen=True)
class Zones:
    """The row of ``gates/zones.sql``."""

    zones: str


@dataclass(frozen=True)
class PhoneZones:
    """The row of ``gates/phone_zones.sql``."""

    phone_prefixes: str
    phone_zones: str


@dataclass(frozen=True)
class Devices:
    """The row of ``gates/devices.sql``."""

    devices: str
    device_users: str
    device_reasons: str
    device_rooms: str
    new_rooms: str
    new_reasons: str
    few_chats: str
    restricted_until: str
    is_online: str
    is_gone: str
    out_of_service: str
    in_flight: str
    laid_out: str
    sent_in_hour: str
    sent_in_day: str
    due_soon: str
    laid_until: str
    most_in_flight: str
    most_in_hour: str
    most_in_day: str
    flying_by: str
    hour_by: str
    day_by: str
    new_in_day: str
    most_new: str
    new_by: str
    away_until: str
    home_after: str
    device_pauses: str
    device_pause_ends: str
    unread_rules: str


@dataclass(frozen=True)
class Persons:
    """The row of ``enroll/persons.sql``."""

    same_leads: str
    same_sequences: str
    same_are_in: str


@dataclass(frozen=True)
class Again:
    """The row of ``enroll/again.sql``."""

    again_leads: str
    again_sequences: str


@dataclass(frozen=True)
class Blocked:
    """The row of ``gates/blocked.sql``: not for Python to read, as the others."""

    blocked_digits: str
    blocked_users: str


@dataclass(frozen=True)
class Causes:
    """The row of ``gates/causes.sql``."""

    causes: str
    cause_patterns: str
    cause_outlooks: str


@dataclass(frozen=True)
class Sent:
    """The row of ``gates/sent.sql``, which ``gates/devices.sql`` takes; where nothing is counted, nothing."""

    sent_devices: str = "{}"
    sent_flying: str = "{}"
    sent_hours: str = "{}"
    sent_days: str = "{}"


@dataclass(frozen=True)
class Ramps:
    """The row of ``gates/ramps.sql``, which ``gates/devices.sql`` takes; without such a rule, nothing."""

    ramp_devices: str = "{}"
    ramp_days: str = "{}"
    ramp_by: str = "{}"
    ramp_rules: str = "{}"
    ramp_tops: str = "{}"
    new_opened: str = "{}"
    new_limits: str = "{}"
    new_limits_by: str = "{}"
    seen_at: str = "{}"
    unread_ramps: str = "[]"


@dataclass(frozen=True)
class Spread:
    """The row of ``gates/spread.sql``, which ``gates/devices.sql`` takes; without such a rule, nothing."""

    spread_devices: str = "{}"
    spread_ahead: str = "{}"
    spread_soon: str = "{}"
    spread_places: str = "{}"
    spread_until: str = "{}"
    paces: str = "{}"
    unread_spreads: str = "[]"


BLOCKED = Query("gates/blocked.sql", Blocked)
ZONES = Query("gates/zones.sql", Zones)
PHONE_ZONES = Query("gates/phone_zones.sql", PhoneZones)
HOST_HOURS = Query("gates/host_hours.sql", HostHours)
WINDOWS = Query("gates/windows.sql", Windows)
STEPS = Query("gates/steps.sql", Steps)
DEVICES = Query("gates/devices.sql", Devices)
SENT = Query("gates/sent.sql", Sent)
RAMPS = Query("gates/ramps.sql", Ramps)
SPREAD = Query("gates/spread.sql", Spread)
PERSONS = Query("enroll/persons.sql", Persons)
CAUSES = Query("gates/causes.sql", Causes)
AGAIN = Query("enroll/again.sql", Again)
