"""What an explanation tells people to do, by what stops whom."""

UNBLOCK = {
    "replied": "nothing, if it is meant; to go on, once a tick has stopped it: seqdev contacts resume PHONE",
    "replies_unread": "put right what the rule replies_from names: a tick sends nothing until then",
    "row_not_active": "nothing is sent: before anybody makes it active again, see that the step was not sent",
    "quarantined": "the database refused the row: correct the cause, then seqdev repair quarantined",
    "step_before": "nothing: the step before it makes it active; if that is done: seqdev repair stranded",
    "sequence_missing": "the sequence is deleted: see seqdev audit contacts",
    "sequence_inactive": "activate the sequence in the application (is_active, and status active)",
    "not_due": "nothing: it goes when it is due",
    "too_late": "to send it all the same: seqdev tick --max-lateness 0s",
    "bad_phone": "write the person's phone into contact_phone",
    "paused": "nothing, if it is meant; to go on: seqdev resume, with what is paused",
    "step_missing": "its step was deleted: seqdev repair step-gone brings them on, or ends them",
    "no_content": "give the step content or a media_url in the application",
    "outside_window": "nothing: it goes when its window opens; see seqdev rules list --sequence {sequence}",
    "claimed": "nothing, unless its processor is dead: seqdev repair stuck releases old claims",
    "no_device": "give the lead a device (seqdev leads assign --distribute), then seqdev repair missing",
    "device_missing": "move its people: seqdev repair device {device} --spread",
    "device_of_other_user": "assign a device of user {user}; what set it: seqdev audit mismatches",
    "device_gone": "it does not come back: seqdev repair device {device} --spread --queue moves its people",
    "device_away": "bring the device back; by the rule grace others take its people when it stays away",
    "device_offline": "bring the device back, or move its people: seqdev repair device {device} --spread",
    "no_lead": "the lead was deleted or has another phone now: seqdev repair no-lead",
    "device_restricted": "let the device rest for a day: people it knows go on; the others can be moved: "
    "seqdev repair device {device} --spread --max N",
    "new_chats_full": "wait, or move people: seqdev repair device {device} --spread --max N",
    "device_full": "wait, or move people: seqdev repair device {device} --spread --max N",
}
"""What to do about each gate that stops a step."""

OPENS = {
    "replied": "never: the next tick stops it",
    "replies_unread": "when the replies can be read",
    "claimed": "when the claim ends",
    "too_late": "never by itself",
    "paused": "when somebody resumes it",
    "outside_window": "never: its window or its zone cannot be read; set it anew: seqdev rules set",
    "device_gone": "never: the device does not come back",
    "device_away": "unknown: when the device is back, or its grace is over",
    "device_offline": "unknown: when the device is back",
    "device_restricted": "when its messages have not failed with such an error for a day",
    "new_chats_full": "unknown: as the device's new chats become older than a day",
    "device_full": "unknown: when messages in flight are sent",
    "not_due": "unknown: it has no due time",
}
"""When a gate opens by itself, where no time is known."""

ENROL = {
    "ready": ("not enrolled yet: trigger {trigger} calls for {sequence}", "seqdev enroll"),
    "sequence_inactive": ("not enrolled: {sequence}, called by {trigger}, is not active", "activate it"),
    "nobody_listens": (
        "trigger {trigger}: no sequence of this user is entered by it",
        "seqdev audit leads",
    ),
    "no_device": (
        "not enrolled in {sequence}: no_device: the lead has none",
        "seqdev leads assign --distribute, then seqdev enroll",
    ),
    "device_missing": (
        "not enrolled in {sequence}: device_missing: the lead's device is gone",
        "seqdev audit leads; give the lead a device",
    ),
    "device_of_other_user": (
        "not enrolled in {sequence}: device_of_other_user: the lead's device is another user's",
        "seqdev audit leads; give the lead a device",
    ),
    "same_person": (
        "not enrolled in {sequence}: same_person: {same_as} is the same person, and is taken for it",
        "nothing, or make one lead of the two: seqdev leads merge",
    ),
    "blocked": (
        "not enrolled in {sequence}: blocked: the phone is blocked",
        "if that is over: seqdev block remove PHONE",
    ),
    "bad_phone": ("not enrolled in {sequence}: bad_phone: not 6 to 15 digits", "correct the lead's phone"),
}
"""What an enrolment would say to each trigger of a lead, and what to do about it."""
