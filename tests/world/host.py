"""The host application as tests need it: rows it would write, and the questions tests ask of them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.world import citus

Connect = Callable[[str], "psycopg.Connection[Any]"]
"""Opens connections of the test's own."""

MADE = "made for a contact"
"""The name of a lead that its contact was given."""

MESSAGE_ID = "md5('seqdev message ' || sc.id)::uuid"
"""The message of a contact, as docs/policies-and-reasons.md publishes it."""


class Host:
    """Writes rows as the host application does, straight into its tables."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection

    @property
    def url(self) -> str:
        """The URL of its database, for more sessions."""
        info = self.connection.info
        return psycopg.conninfo.make_conninfo(
            host=info.host, port=info.port, user=info.user, dbname=info.dbname
        )

    def rows(self, statement: str, *values: object) -> list[Any]:
        """The rows of a statement, as named tuples; an empty list where it returns none."""
        named = values[0] if len(values) == 1 and isinstance(values[0], dict) else values or None
        cursor = self.connection.execute(statement.encode(), named)
        return cursor.fetchall() if cursor.description else []

    def each(self, script: str) -> None:
        """Run each statement of it by itself: some of them do not go with others on Citus."""
        for statement in re.findall(r"(?:\$\$.*?\$\$|[^;$])+", script, re.DOTALL):
            if statement.strip():
                self.rows(statement)

    def value(self, statement: str, *values: object) -> Any:
        """The first value of the first row."""
        return self.rows(statement, *values)[0][0]

    def rule(self, name: str, value: object, **whose: UUID) -> None:
        """A rule, as ``seqdev rules set`` keeps it, or unset with None: for all, or a ``device``, ``sequence`` or ``user``."""
        ((scope, scope_id),) = whose.items() or [("all", None)]
        self.rows(
            "insert into seqdev.rule select md5(concat_ws(' ', 'seqdev rule', n, s, i))::uuid, n, s, i, v"
            " from (values (%s::text, %s::text, %s::uuid, %s::text)) as r (n, s, i, v)"
            " on conflict (id) do update set value = excluded.value",
            *(name, scope, scope_id, None if value is None else str(value)),
        )

    def write_phone(self, table: str, phone: str, where: str = "true") -> None:
        """Another phone for rows; where it says on which node they are, by other rows of the same ids."""
        column = {"leads": "phone", "sequence_contacts": "contact_phone"}.get(table, "recipient_phone")
        if not citus.URL:
            self.rows(f"update {table} set {column} = %s where {where}", phone)
            return
        self.rows(f"create temporary table written as select * from {table} where {where}")
        self.rows(f"update written set {column} = %s", phone)
        self.rows(f"delete from {table} where id in (select id from written)")
        self.rows(f"insert into {table} select * from written")
        self.rows("drop table written")

    def distribute(self, table: str, column: str) -> None:
        """What a test makes in the place of a table of the host's is distributed as that was, where it was."""
        if citus.URL:
            self.rows("select create_distributed_table(%s, %s, colocate_with => 'leads')", table, column)

    def user(self) -> UUID:
        return self._insert("users")

    def device(self, user: UUID, name: str = "", status: str = "online") -> UUID:
        return self._insert(
            "user_devices", user_id=user, device_name=name or f"device {uuid4()}", status=status
        )

    def sequence(self, user: UUID, name: str = "", **columns: object) -> UUID:
        return self._insert("sequences", user_id=user, name=name or f"sequence {uuid4()}", **columns)

    def step(
        self, sequence: UUID, day: int, trigger: str | None, next_trigger: str | None = "", **columns: object
    ) -> UUID:
        columns = {
            "content": f"message of day {day}",
            "trigger_delay_hours": 24,
            "is_entry_point": day == 1,
            **columns,
        }
        return self._insert(
            "sequence_steps",
            sequence_id=sequence,
            day_number=day,
            trigger=trigger,
            next_trigger=next_trigger,
            **columns,
        )

    def lead(
        self, user: UUID, device: UUID | None, phone: str, trigger: str | None = "", name: str = "Somebody"
    ) -> UUID:
        # Instead of the one that its contact was given.
        self.rows("delete from leads where user_id = %s and phone = %s and name = %s", user, phone, MADE)
        return self._insert("leads", user_id=user, device_id=device, phone=phone, trigger=trigger, name=name)

    def make_leads(self) -> None:
        """A lead without a device for everybody who is in a sequence and has none."""
        self.rows(
            "insert into leads (user_id, phone, name)"
            " select distinct s.user_id, sc.contact_phone, %s"
            " from sequence_contacts as sc join sequences as s on s.id = sc.sequence_id where not exists"
            " (select 1 from leads as l where l.user_id = s.user_id and l.phone = sc.contact_phone)",
            MADE,
        )

    def contact(
        self,
        sequence: UUID,
        step: UUID | None,
        phone: str,
        device: UUID | None,
        due_in: timedelta = timedelta(minutes=-1),
        lead: bool = True,
        **columns: object,
    ) -> UUID:
        """A contact whose step is due ``due_in`` from now, by the server's clock in UTC; with a lead, if there is none."""
        columns = {"status": "active", **columns}
        if lead and phone:
            self.rows(
                "insert into leads (user_id, phone, name) select s.user_id, %s, %s from sequences as s"
                " where s.id = %s and not exists"
                " (select 1 from leads as l where l.user_id = s.user_id and l.phone = %s)",
                *(phone, MADE, sequence, phone),
            )
        contact = self._insert(
            "sequence_contacts",
            sequence_id=sequence,
            sequence_stepid=step,
            contact_phone=phone,
            assigned_device_id=device,
            **columns,
        )
        self.rows(
            "update sequence_contacts set next_trigger_time = (now() + %s) at time zone 'UTC' where id = %s",
            due_in,
            contact,
        )
        return contact

    def simple_sequence(self, user: UUID, trigger: str = "WARM", steps: int = 1) -> tuple[UUID, list[UUID]]:
        """A sequence of ``steps`` steps, a day apart, entered by ``trigger``: its id, and its steps'."""
        sequence = self.sequence(user, name=trigger.lower())
        names = [trigger, *(f"{trigger}_{day}" for day in range(2, steps + 1)), ""]
        return sequence, [self.step(sequence, day, names[day - 1], names[day]) for day in range(1, steps + 1)]

    def make_all_due(self) -> None:
        """Time moves on for everybody who waits."""
        self.rows(
            "update sequence_contacts set next_trigger_time = now() at time zone 'UTC' - interval '1 minute'"
            " where status = 'active'"
        )

    def broken_promises(self) -> list[Any]:
        """Rows that break I1 or I2: nothing, if seqdev keeps its promises.

        I1: one message for a contact and step. I2: completed or failed if and only if the message exists;
        the next step's row exists if and only if the step is done, or was skipped, and has a next step.
        """
        return self.rows(
            f"""
            select 'two messages' as promise, m.recipient_phone
            from broadcast_messages m
            where sequence_stepid is not null
            group by sequence_id, sequence_stepid, recipient_phone having count(*) > 1
            union all
            select 'done, message missing', sc.contact_phone
            from sequence_contacts sc
            where sc.status in ('completed', 'failed')
              and {MESSAGE_ID} not in (select m.id from broadcast_messages m)
            union all
            select 'message exists, not done', sc.contact_phone
            from sequence_contacts sc
            where sc.status not in ('completed', 'failed')
              and {MESSAGE_ID} in (select m.id from broadcast_messages m)
            union all
            select 'done, next step missing', sc.contact_phone
            from sequence_contacts sc
            join sequence_steps st on st.id = sc.sequence_stepid
            join sequence_steps nx
              on nx.sequence_id = st.sequence_id and nx.trigger = st.next_trigger and nx.trigger <> ''
            where sc.status in ('completed', 'failed')
              and not exists (
                select 1 from sequence_contacts n
                where n.sequence_id = sc.sequence_id and n.contact_phone = sc.contact_phone
                  and n.sequence_stepid = nx.id
              )
            union all
            select 'next step exists, not done', sc.contact_phone
            from sequence_contacts sc
            join sequence_steps st on st.id = sc.sequence_stepid
            join sequence_steps nx
              on nx.sequence_id = st.sequence_id and nx.trigger = st.next_trigger and nx.trigger <> ''
            join sequence_contacts n
              on n.sequence_id = sc.sequence_id and n.contact_phone = sc.contact_phone
             and n.sequence_stepid = nx.id and n.id <> sc.id and n.status <> 'pending'
            where sc.status not in ('completed', 'failed')
              and coalesce(sc.status <> 'stopped' or sc.last_error !~ '^skipped: ', true)
            """
        )

    def _insert(self, table: str, **columns: object) -> UUID:
        columns = {"id": uuid4(), **columns}
        names = ", ".join(columns)
        marks = ", ".join(["%s"] * len(columns))
        self.rows(f"insert into {table} ({names}) values ({marks})", *columns.values())
        identity = columns["id"]
        assert isinstance(identity, UUID)
        return identity
