"""Settings: flags over environment (``SEQDEV_…``) over a TOML file over the defaults."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from seqdev.config_file import default_file, read
from seqdev.errors import UsageError
from seqdev.hours import EXAMPLE
from seqdev.hours import window as hours

_RAMP = re.compile(r"(\d{1,9}) ?\+ ?(\d{1,9})", re.ASCII)
_MOST = 2_000_000_000
"""Less than what the server's integers hold."""
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
"""The units that rules are kept in."""


def parse_duration(text: str) -> timedelta:
    """``90s``, ``15m``, ``1h``, ``2d``, ``1w`` as a timedelta. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,6})(ms|[smhdw])", text.strip(), re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m, 1h, 2d or 1w")
    return timedelta(**{(_UNITS | {"w": "weeks"})[match[2]]: int(match[1])})


class Policy(StrEnum):
    """What becomes of a contact whose preferred device is not available."""

    QUEUE = "queue"
    STRICT = "strict"
    FALLBACK = "fallback"
    REASSIGN = "reassign"

    @property
    def moves(self) -> bool:
        """Whether another device of the user may take the contact."""
        return self in (Policy.FALLBACK, Policy.REASSIGN)


@dataclass(frozen=True)
class WarmUp:
    """Messages that a device may send on its first day, and how many more for each day that it has sent."""

    first: int
    more: int

    @classmethod
    def read(cls, text: str) -> "WarmUp":
        """``20 +10`` as 20 and 10. Raises ValueError for anything else."""
        match = _RAMP.fullmatch(text.strip())
        if not match:
            raise ValueError(f"{text!r} is no warm-up")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """As the rule is kept."""
        return f"{self.first} +{self.more}"


@dataclass(frozen=True)
class Rules:
    """What is decided for every host alike: kept with the database. Limits are messages a device."""

    policy: Policy = Policy.QUEUE
    """Device policy of a tick."""
    max_in_flight: int = 50
    """Messages of a device that may be pending, queued or processing at once."""
    max_per_hour: int = 80
    """Messages of a device sent in 60 minutes, plus those in flight."""
    max_per_day: int = 800
    """Messages of a device sent in 24 hours, plus those in flight."""
    spread: bool = False
    """Whether a device's messages are laid out by its max_per_hour, instead of scheduled all for now."""
    warm_up: WarmUp | None = None
    """The same of a device that is new, such as 20 +10: so many at first, and so many more for each day that
    it has sent since it was last silent for a week; none: max_per_day from the first day on."""
    new_chats_per_day: int | None = None
    """People whom a device may write to for the first time in 24 hours; none: any number."""
    grace: timedelta = timedelta(0)
    """How long a device may be away before fallback and reassign take its people to others."""
    return_home: bool = False
    """Whether people whom reassign has moved go back to their own device when it is available again."""
    restricted_errors: tuple[str, ...] = ("463", "reach out", "time lock", "restricted")
    """Words in the error of a message that say that its device may open no new chats; a number on its own."""
    max_lateness: timedelta = timedelta(0)
    """Contacts that are later than that are not sent, and wait; zero: nobody is too late."""
    default_delay: timedelta = timedelta(hours=24)
    """When a step is due whose trigger_delay_hours is empty, zero or negative."""
    without_lead: bool = False
    """Whether people are written to whose lead is deleted, or has another phone now."""
    reenrol_after: timedelta = timedelta(0)
    """After how long a person who has finished a sequence may enter it again; zero: never."""
    stop_on_reply: bool = False
    """Whether people who write back leave the sequence."""
    replies_from: str = ""
    """Table or view of what people write back: phone, device_id, replied_at; empty: whatsapp_messages."""
    window: str = ""
    """When steps are sent: days and times, such as mon-fri 09:00-18:00, sat 10:00-13:00; empty: always."""
    zone: str = ""
    """Time zone of the window, or recipient: each person's own; empty: that of the database."""
    host_columns: bool = False
    """Whether the host's own columns count: schedule_time, time_schedule, priority and delays."""
    claim_timeout: timedelta = timedelta(minutes=5)
    """How long a contact claimed by another processor is left alone."""
    failed_within: timedelta = timedelta(days=7)
    """Age of the queued messages whose failure a tick still reflects."""
    region: str = ""
    """Country of phones without country code, by two letters, such as MY; empty: they stay as they are."""
    active_statuses: tuple[str, ...] = ("active",)
    """Values of sequences.status that count as active."""
    inactive_statuses: tuple[str, ...] = ("inactive", "draft", "paused", "completed")
    """Values of sequences.status that count as inactive, known to be so."""
    online_statuses: tuple[str, ...] = ("online",)
    """Values of user_devices.status that count as online."""
    away_statuses: tuple[str, ...] = ("offline", "disconnected")
    """Values of user_devices.status of a device that may come back."""
    gone_statuses: tuple[str, ...] = ("banned", "deleted", "blocked")
    """Values of user_devices.status of a device that does not come back."""
    sent_statuses: tuple[str, ...] = ("sent", "delivered", "read")
    """Values of broadcast_messages.status of a message that was sent."""
    failed_statuses: tuple[str, ...] = ("failed", "error", "skipped", "expired", "cancelled")
    """Values of broadcast_messages.status of a message that will never be sent."""
    waiting_statuses: tuple[str, ...] = ("pending",)
    """Values of sequence_contacts.status of a later step's row that was made beforehand."""
    done_statuses: tuple[str, ...] = ("completed", "sent", "failed")
    """Values of sequence_contacts.status of a step that is done."""
    stopped_statuses: tuple[str, ...] = ("paused", "stopped", "replied", "set_aside")
    """Values of sequence_contacts.status that somebody has set so that nothing is sent."""


@dataclass(frozen=True)
class Settings(Rules):
    """Everything that can be configured, and the rules. Durations are timedeltas."""

    database_url: str = ""
    """Connection URL or libpq conninfo; empty: PG* variables, else the embedded server."""
    password_command: str = ""
    """Command whose first line of output is the password, run without a shell for every connection."""
    schema: str = "public"
    """Schema of the host's tables."""
    timezone: str = ""
    """Time zone in which naive timestamps are read; empty: the one kept with the database, else UTC."""
    shown_zone: str = ""
    """Time zone in which people are shown instants; empty: the terminal's. It decides nothing."""
    mask: bool = False
    """Hide phones on screen."""
    ping: str = ""
    """URL of a monitor that ticks tell how they end; empty: none. It is a secret, and never shown."""
    lock_timeout: timedelta = timedelta(seconds=5)
    """How long a statement waits for a lock that somebody else holds."""
    statement_timeout: timedelta = timedelta(minutes=5)
    """How long one statement may run."""
    completion_timeout: timedelta = timedelta(milliseconds=300)
    """How long the shell's completion may wait for names, from its start on."""
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Not configured itself: what is configured on this host, and where: a variable, an option, the file."""
    flags: frozenset[str] = frozenset()
    """Not configured itself: the rules that are set for this run only."""
    policies: tuple[Policy, ...] = ()
    """Not configured itself: the policies that users have by rules of their own."""
    narrower: frozenset[str] = frozenset()
    """Not configured itself: the rules that are set for a user, a sequence or a device."""
    usual: Policy | None = None
    """Not configured itself: where these are the settings for the users of one policy, that of those without
    a rule of their own; None: they are for everybody."""

    @property
    def held(self) -> Mapping[str, str]:
        """The rules that the file or the environment holds, and which of the two."""
        return {name: where for name, where in self.origins.items() if name in RULES}

    def rules_on(self, *names: str) -> bool:
        """Whether one of these rules is set to anything but its default, or for a part."""
        return any(name in self.narrower or getattr(self, name) != getattr(Rules(), name) for name in names)

    def everybody(self, policy: Policy) -> "Settings":
        """These settings if ``policy`` were that of all users."""
        return replace(self, policy=policy, policies=(), usual=None)

    @property
    def policies_in_use(self) -> tuple[Policy, ...]:
        """The policies that there are users of, that of those without a rule of their own first."""
        return tuple(dict.fromkeys((self.policy, *self.policies)))

    def of(self, policy: Policy | None) -> "Settings":
        """These settings for the users who have ``policy``; None: who have the usual one."""
        if not self.policies and policy in (None, self.policy):
            return self
        return replace(self, policy=policy or self.policy, usual=self.policy)

    def for_this_run(self, **given: object) -> "Settings":
        """These settings with other rules, for one run; None: not given."""
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(self, **chosen, flags=self.flags | chosen.keys())


RULES = tuple(one.name for one in fields(Rules))
"""The names of the rules."""
PAUSED = "paused"
"""The name under which the pause of a sequence, device or user is kept beside the rules."""
_OWN = ("origins", "flags", "policies", "narrower", "usual")
KEYS = tuple(one.name for one in fields(Settings) if one.name not in _OWN)
"""What a file and the environment may hold."""


def load(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    say: Callable[[str], None] = lambda _: None,
) -> Settings:
    """The settings from the file at ``path`` (None: the default place, which may be missing), the
    environment and the flags (None: not given).

    A default place that nobody can look into is passed over, and ``say`` is told. Raises UsageError for a
    file that cannot be read, a key that does not exist, a value of the wrong kind.
    """
    if path is None:
        path = default_file(environ, say)
    given = read(path, say) if path else {}
    for key in given:
        if key not in KEYS:
            raise UsageError(
                f"unknown key {key!r} in the configuration file", f"known: {', '.join(sorted(KEYS))}"
            )
    origins = dict.fromkeys(given, f"the configuration file {path}")
    for name in KEYS:
        variable = f"SEQDEV_{name.upper()}"
        if environ.get(variable):
            given[name] = environ[variable]
            origins[name] = variable
    values: dict[str, Any] = {name: value_of(name, value) for name, value in given.items()}
    typed = {name: value for name, value in flags.items() if value is not None}
    origins |= {name: f"option --{name.replace('_', '-')}" for name in typed}
    return replace(Settings(), **values | typed, origins=origins)


def value_of(name: str, value: object) -> Any:
    """The ``value`` of a setting or rule, from TOML or a text, as its type. Raises UsageError."""
    try:
        if name in _OPTIONAL:
            text = str(value).strip()
            return None if text.lower() == "none" else _OPTIONAL[name](text)
        return hours(str(value)) if name == "window" else _converted(value, getattr(_DEFAULTS, name))
    except (KeyError, ValueError) as error:
        if name == "window":
            raise UsageError(f"setting window cannot be {value!r}: {error}", f"write {EXAMPLE}") from error
        known = isinstance(getattr(_DEFAULTS, name), Policy)
        hint = f"known: {', '.join(Policy)}" if known else f"its default is {text_of(name, _DEFAULTS)!r}"
        hint = _HINTS.get(name, hint)
        raise UsageError(f"setting {name} cannot be {value!r}", hint) from error


def text_of(name: str, rules: Rules) -> str:
    """The value of the setting or rule ``name`` as the text that ``value_of`` reads."""
    value = getattr(rules, name)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        for unit, word in reversed(_UNITS.items()):
            if value % timedelta(**{word: 1}) == timedelta(0) and (value or unit == "s"):
                return f"{value // timedelta(**{word: 1})}{unit}"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _converted(value: object, default: object) -> object:
    """``value`` as the type of ``default``. Raises KeyError or ValueError."""
    if isinstance(default, Policy):
        return Policy(str(value))
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
            str(value).lower()
        ]
    if isinstance(default, int):
        return _number(str(value))
    if isinstance(default, timedelta):
        return parse_duration(str(value))
    if isinstance(default, tuple):
        items = value if isinstance(value, list) else str(value).split(",")
        return tuple(text for item in items if (text := str(item).strip()))
    return str(value)


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number < _MOST:
        raise ValueError
    return number


_OPTIONAL: Mapping[str, Callable[[str], object]] = {"warm_up": WarmUp.read, "new_chats_per_day": _number}
"""Rules that may be none, and how their texts are read."""
_HINTS = {
    "warm_up": "write '20 +10': 20 on the first day, 10 more for each day that the device has sent; or none",
    "new_chats_per_day": "write a number, or none",
    "grace": "write a duration: 90s, 15m, 1h or 2d",
}
"""What to write for a rule, where its default does not tell."""
_DEFAULTS = Settings()


def meanings(settings: Settings) -> dict[str, object]:
    """What each value of a status column means, as parameters."""
    return {
        name.removesuffix("_statuses"): getattr(settings, name)
        for name in RULES
        if name.endswith("_statuses")
    }
