"""Where the forecast of a user is not exact, and what could change it that nobody can know."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from seqdev.forecast.user import User

if TYPE_CHECKING:
    from seqdev.forecast.ask import Asking

MOVED = "each device, where people are moved: all of a user's devices together are exact"
MOVED_NEW = "whom devices with new_chats_per_day take from others: each counts as new, known to them or not"
HOME_NEW = "whom devices with new_chats_per_day have back from others: each counts as known to them"
SPREAD = "spread: each message may leave a quarter of a gap earlier or later"
LATENESS = "max_lateness: to a tick"
INEXACT = (MOVED, MOVED_NEW, HOME_NEW, SPREAD, LATENESS)
"""Where the numbers are not exact."""

REPLIES = "stop_on_reply: who has written back is left out, who will cannot be known"
UNREAD = "stop_on_reply: who has written back cannot be read, who will cannot be known"
AGAIN = "reenrol_after: people of --enroll are taken to be new to their devices, also who comes again"
UNKNOWN = (REPLIES, UNREAD, AGAIN)
"""What could change them, and cannot be foreseen."""


def of(user: User, asking: "Asking", enroll: Mapping[UUID, int]) -> set[str]:
    """What holds for this user, whose days have passed."""
    found = set()
    senders = [device.sender for device in user.devices]
    is_choosy = any(one.is_limited and (one.most_new is not None or one.restricted > 0) for one in senders)
    sends = any(any(device.days.sends) or any(device.days.waiting) for device in user.devices)
    if user.has_moved:
        found.add(MOVED)
        if is_choosy:
            found.add(MOVED_NEW)
    if user.last_moved and is_choosy and any(one.home_after is not None for one in senders):
        found.add(HOME_NEW)
    if sends and any(one.gap for one in senders):
        found.add(SPREAD)
    if sends and user.frame.patience:
        found.add(LATENESS)
    sequences = {step.sequence_id for step in user.frame.steps.values() if step.user_id == user.id}
    if sends and sequences & asking.stopping:
        found.add(UNREAD if asking.is_unread else REPLIES)
    if is_choosy and sequences & enroll.keys() and asking.may_enter_again:
        found.add(AGAIN)
    return found


def said(doubts: Iterable[set[str]], among: Iterable[str]) -> list[str]:
    """Those of ``among`` that hold for anybody."""
    every = set().union(*doubts)
    return [one for one in among if one in every]
