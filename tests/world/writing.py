"""Every command that writes, and a database in which each has something to do."""

from collections.abc import Callable
from pathlib import Path

from tests.world.command import Cli
from tests.world.host import Host

WRITING = (
    *("tick", "enroll --yes", "leads import FILE --user USER --device A", "leads assign --distribute --yes"),
    *("repair assigned --yes", "repair missing --yes", "repair device A --to B --yes", "repair home --yes"),
    *(
        "leads merge --yes",
        "repair stuck --yes",
        "contacts stop 60123450001 --why x --yes",
        "contacts restart 60123450001 --sequence warm --why x --yes",
        "block add 60123450002 --why x --yes",
        "repair undo RUN --yes",
        "repair device A --to B --plan PLAN --yes",
    ),
)


def something_to_do(host: Host, seqdev: Cli, tmp_path: Path) -> Callable[[str], list[str]]:
    """Something to do for every command that writes; makes argument lists of their words."""
    user = host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, steps = host.simple_sequence(user, steps=2)
    for number, trigger in enumerate(("WARM", "", "WARM")):
        host.lead(user, a, f"601234500{number:02}", trigger)
    host.lead(user, None, "60123450099", "WARM")
    host.lead(user, a, "+60123450099")
    # Sent from another device than assigned.
    host.contact(sequence, steps[0], "60123450001", a)
    assert seqdev("tick").code == 0
    host.rows("update broadcast_messages set device_id = %s, status = 'sent', sent_at = now()", b)
    # Without a device, claimed long ago, gone for a time, and moved by a run.
    host.contact(sequence, steps[0], "60123450000", None)
    host.rows(
        "update sequence_contacts set processing_device_id = %s, processing_started_at = now() - interval '1 day'"
        " where assigned_device_id is null",
        a,
    )
    for options in (["--until-back"], []):
        extra = host.device(user, f"C{options}")
        other, (step,) = host.simple_sequence(user, trigger=f"COLD{options}")
        host.lead(user, extra, f"60123451{len(options)}77")
        host.contact(other, step, f"60123451{len(options)}77", extra)
        assert seqdev("repair", "device", extra, "--to", "B", "--yes", *options).code == 0
    run = host.value("select id from seqdev.run where command = 'repair device' limit 1")
    plan = tmp_path / "plan"
    assert seqdev("repair", "device", "A", "--to", "B", "--dry-run", "--plan", plan).code == 0
    file = tmp_path / "leads.csv"
    file.write_text("phone\n60123459999\n")
    words = {"FILE": str(file), "USER": str(user), "RUN": str(run), "PLAN": str(plan)}
    return lambda text: [words.get(word, word) for word in text.split()]
