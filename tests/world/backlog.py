"""A backlog: many due contacts of many users."""

from tests.world.host import Host

USERS = 40
MESSAGES = "select count(*) from broadcast_messages"


def fill(host: Host, contacts: int, users: int = USERS) -> None:
    for _ in range(users):
        user = host.user()
        sequence, (first, _) = host.simple_sequence(user, steps=2)
        host.rows(
            "insert into sequence_contacts"
            " (sequence_id, sequence_stepid, contact_phone, user_id, assigned_device_id, next_trigger_time)"
            " select %s, %s, '60120' || n, %s, %s, now() at time zone 'UTC' - interval '1 minute'"
            " from generate_series(1, %s) as n",
            *(sequence, first, user, host.device(user), contacts // users),
        )
    host.make_leads()
    host.rows("alter table broadcast_messages add column writer integer default pg_backend_pid()")
