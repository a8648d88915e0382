"""A rule of the domain stands in one place; where copies must remain, since a file runs alone in psql, they are equal.

Each test looks for a rule by how it is written. So that no search goes blind, each has to find the rule at its
master, too.
"""

import re
from collections.abc import Iterator

import pytest

from seqdev.postgres.queries import ROOT

_ELSEWHERE = ("demo", "postgres")
"""Folders that write rows, or describe the schema: they judge nobody."""


def sources() -> dict[str, str]:
    """The statements without their headers and defaults, by path."""
    found = {}
    for file in sorted(ROOT.rglob("*.sql")):
        path = file.relative_to(ROOT)
        if path.parts[0] not in _ELSEWHERE:
            lines = file.read_text().split("\n")
            start = next(n for n, line in enumerate(lines) if not line.startswith(("--", "\\")))
            found[str(path)] = "\n".join(line for line in lines[start:] if not line.startswith("\\"))
    return found


SOURCES = sources()


def plain(text: str) -> str:
    """``text`` without comments, its white space and names of tables evened out."""
    text = re.sub(r"--[^\n]*", " ", text)
    return " ".join(text.split())


def blocks() -> Iterator[tuple[str, str, str]]:
    """Every block of what makes a contact due: the file, whether it is the master's, the condition."""
    mark = re.compile(
        r"-- (?P<mark>due|due: as in tick/claim\.sql)\n(?P<block>.*?\n[^\n]*\bis true\b)", re.DOTALL
    )
    for path, source in SOURCES.items():
        for match in mark.finditer(source):
            yield path, match["mark"], match["block"]


def due(block: str) -> str:
    return re.sub(r"(?<== \(|.\(\()(device|source|s|d|l)\.user_id,", "USER,", plain(block))


def test_what_makes_a_contact_due_is_the_same_everywhere() -> None:
    masters = {due(block) for path, mark, block in blocks() if mark == "due"}
    assert {path for path, mark, _ in blocks() if mark == "due"} == {"tick/claim.sql"}
    assert len(masters) == 1
    copies = [(path, due(block)) for path, mark, block in blocks() if mark != "due"]
    assert copies
    assert [path for path, block in copies if block not in masters] == []


CLAIMS = {
    "tick/plan.sql": "counts the claimed as a reason to wait",
    "tick/plan_distributed.sql": "the same",
    "explain/gates.sql": "says until when the claim is respected",
    "forecast/people.sql": "says when the contact is due again, and which will be too late",
    "explain/gates_distributed.sql": "the same",
    "audit/contacts.sql": "finds what a processor has left claimed: the opposite",
    "repair/stuck.sql": "releases it",
    "repair/written_by_other.sql": "respects it, and makes one of another processor's message",
}
"""Who looks at a claim, or at how late somebody is, in other words than those of what is due, and why."""


def test_nobody_else_looks_at_claims_and_lateness() -> None:
    looks = re.compile(
        r":'stale'|:'oldest'|:'claimed'|:'max_lateness'|processing_started_at(::timestamptz)? *(<|>|is null|between)"
    )
    inside = {path for path, _, block in blocks() if looks.search(block)}
    outside = set()
    for path, source in SOURCES.items():
        for _, _, block in (one for one in blocks() if one[0] == path):
            source = source.replace(block, "")
        if looks.search(source):
            outside.add(path)
    assert "tick/claim.sql" in inside
    assert outside == CLAIMS.keys()


RULES = {
    "a sequence is active": (
        r"\bis_active\b\s+and\b|:'active'",
        "gates/steps.sql",
        {"audit/sequences.sql": "finds where is_active and status say different things"},
    ),
    "a step can be sent": (r"\b(content|media_url)\s*!?~", "gates/steps.sql", {}),
    "a step is one to enter by": (r"\.is_entry_point\b", "gates/steps.sql", {}),
    "what the next step is": (
        r"\bnext_trigger\s*=\s*\w+\.trigger\b|\.trigger\s*=\s*\w+\.next_trigger\b",
        "gates/steps.sql",
        {},
    ),
    "a device is available": (r"\bis_available\b|:'online'", "gates/devices.sql", {}),
    "a device does not come back": (
        r":'gone'",
        "gates/devices.sql",
        {},
    ),
    "the room of a device": (
        r":'max_(in_flight|per_hour|per_day)'|:'(warm_up|new_chats|grace)'",
        "gates/devices.sql",
        {
            "gates/sent.sql": "counts no further than the limits",
            "gates/sent_distributed.sql": "the same",
            "gates/ramps.sql": "counts what the rules are about that not everybody sets",
            "gates/ramps_distributed.sql": "the same",
            "gates/spread.sql": "lays messages out by the limit of an hour",
            "gates/spread_distributed.sql": "the same",
        },
    ),
}
"""How a rule is written, the gate that holds it, and who uses its words for something else, and why."""


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_stands_in_its_gate_alone(rule: str) -> None:
    written, gate, others = RULES[rule]
    assert {path for path, source in SOURCES.items() if re.search(written, plain(source))} == {gate, *others}


def common_table(source: str, name: str) -> str:
    """The common table expression ``name`` of a statement."""
    found = re.search(
        rf"^(?:with |with recursive )?{name} as [^\n]*\(\n.*?^\)", source, re.DOTALL | re.MULTILINE
    )
    assert found, f"no {name}"
    return plain(found[0].removeprefix("with recursive ").removeprefix("with "))


def test_every_audit_counts_what_it_finds_in_the_same_way() -> None:
    tallies = {
        path: common_table(source, "tally")
        for path, source in SOURCES.items()
        if "jsonb_object_agg(\n" in source and "tally" in source
    }
    counted = {
        path for path, source in SOURCES.items() if path.startswith("audit/") and "tally.total" in source
    }
    assert tallies.keys() == counted
    master = tallies.pop("audit/contacts.sql")
    assert tallies
    assert [path for path, tally in tallies.items() if tally != master] == []


@pytest.mark.parametrize("name", ["worst", "bucket", "summary"])
def test_every_summary_is_made_in_the_same_way(name: str) -> None:
    found = {
        path: common_table(source, name)
        for path, source in SOURCES.items()
        if re.search(rf"^{name} as \(", source, re.MULTILINE) and path.startswith("audit/")
    }
    assert len(found) == 5
    assert len(set(found.values())) == 1


@pytest.mark.parametrize(
    ("name", "where"),
    [
        *((name, 3) for name in ("row_was", "made", "known")),
        *(("stood", 4), ("undone", 2), ("message_was", 4)),
    ],
)
def test_how_it_stood_is_told_in_the_same_way_everywhere(name: str, where: int) -> None:
    found = {
        path: common_table(source, name).replace(":'at'", ":'now'")
        for path, source in SOURCES.items()
        if re.search(rf"^{name} as materialized", source, re.MULTILINE)
        and (
            path.startswith("audit/then_")
            or (path == "explain/then_steps.sql" and name in ("stood", "undone"))
        )
    }
    distributed = {path: found.pop(path) for path in DISTRIBUTED & found.keys()}
    assert len(found) == where, found.keys()
    assert len(set(found.values())) == len(set(distributed.values())) == 1


def test_assigned_devices_are_found_in_the_same_way_everywhere() -> None:
    found = {
        path: common_table(source, r"assigned \(device_id\)").replace(":'by_user'::boolean and ", "")
        for path, source in SOURCES.items()
        if re.search(r"\bassigned \(device_id\) as", source)
    }
    master = found.pop("tick/plan.sql")
    assert found
    assert [path for path, hops in found.items() if hops != master] == []


@pytest.mark.parametrize("name", ["chat", "newcomer", "barred"])
def test_who_would_be_a_new_chat_is_told_in_the_same_way_everywhere(name: str) -> None:
    found = {
        # The dry run leaves out whom it has counted on another device; explain, whom a tick stops before it judges.
        path: common_table(source, name)
        .replace(" and sc.id not in (select moved.id from moved)", "")
        .replace(" and sc.id <> all(:'replied'::uuid [])", "")
        for path, source in SOURCES.items()
        if re.search(rf"^{name} as materialized", source, re.MULTILINE)
    }
    distributed = {path: found.pop(path) for path in DISTRIBUTED & found.keys()}
    assert found.keys() == {"tick/pick.sql", "tick/plan.sql", "tick/overflow.sql", "explain/gates.sql"}
    assert len(set(found.values())) == 1
    assert {f"tick/{one}_distributed.sql" for one in ("pick", "plan", "overflow")} <= distributed.keys()
    assert len({told for path, told in distributed.items() if path.startswith("tick/")}) == 1


def test_whom_a_device_knows_is_told_in_the_same_way_everywhere() -> None:
    mark = re.compile(r"-- known\n(.*?limit 1)", re.DOTALL)
    found = [
        re.sub(r"\b(fresh|own|w|d)\.(contact_phone|device_id|id)\b", "OF", plain(known))
        for source in SOURCES.values()
        for known in mark.findall(source)
    ]
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("", name) for name in ("chunk", "entry", "matched", "judged", "fit")),
        *(("_distributed", name) for name in ("batch", "entry", "matched", "judged", "fit")),
    ],
)
def test_the_dry_run_of_an_enrolment_judges_as_the_enrolment_does(where: str, name: str) -> None:
    enrolment = common_table(SOURCES[f"enroll/apply{where}.sql"], name)
    only_written = " when :'refused'::boolean then 'refused_by_database'"
    assert common_table(SOURCES[f"enroll/plan{where}.sql"], name) == enrolment.replace(only_written, "")


def test_the_roles_that_find_users_by_name_read_the_same_column() -> None:
    grants = [(ROOT / f"postgres/grants/{role}.sql").read_text() for role in ("audit", "enroll", "repair")]
    assert len({common_table(source, "users_by") for source in grants}) == 1


IDENTITIES = {
    "message": r"md5\('seqdev message ' \|\| \w+\.(id|contact_id)\)::uuid",
    "rule": r"md5\(concat_ws\(' ', 'seqdev rule', \w+\.name, \w+\.scope, \w+\.scope_id\)\)::uuid",
    "contact": r"md5\('seqdev contact ' \|\| \w+\.(id|contact_id) \|\| ' ' \|\| \w+\.next_id\)::uuid",
}
"""How an id is derived that seqdev gives to what it writes, in tick/claim.sql, a rule's in rules/set.sql, and for whoever looks for it."""


def test_an_id_of_seqdev_is_derived_in_the_same_way_everywhere() -> None:
    written = SOURCES["tick/claim.sql"] + SOURCES["rules/set.sql"]
    assert all(re.search(one, written) for one in IDENTITIES.values())
    derived = re.compile("|".join(IDENTITIES.values()))
    assert [path for path, source in SOURCES.items() if "md5(" in derived.sub("", source)] == []


COUNTED = {
    "in flight": "m.status in ('pending', 'queued', 'processing') and ( m.scheduled_at is null or m.scheduled_at ",
    "sent": "m.sent_at > :'now'::timestamptz - interval '24 hours' and m.status not in ('pending', 'queued', 'processing',"
    " 'failed') and m.status <> all(:'failed'::text [])",
}
"""What takes the room of a device, as its gate counts it."""


@pytest.mark.parametrize("kind", COUNTED)
def test_a_forecast_counts_the_messages_that_the_gate_counts(kind: str) -> None:
    for path in ("gates/sent.sql", "forecast/messages.sql"):
        assert COUNTED[kind] in plain(SOURCES[path]), path


def in_general(text: str) -> str:
    """``text`` about a phone of whatever table."""
    return re.sub(
        r"coalesce\(PHONE, ''\)", "PHONE", re.sub(r"\b\w+\.(contact_|recipient_)?phone\b", "PHONE", text)
    )


def test_the_digits_of_a_phone_are_told_by_the_same_rule_everywhere() -> None:
    mark = re.compile(
        r"-- (?P<mark>The master of the digits: [^\n]*|digits: as in enroll/persons\.sql)\n(?P<rule>.*?\) as bare\n)",
        re.DOTALL,
    )
    found = [
        (path, match["mark"][0] == "T", in_general(plain(match["rule"])))
        for path, source in SOURCES.items()
        for match in mark.finditer(source)
    ]
    masters = {rule for _, is_master, rule in found if is_master}
    assert [path for path, is_master, _ in found if is_master] == ["enroll/persons.sql"]
    assert len(found) > 3
    assert [path for path, _, rule in found if rule not in masters] == []
    # Nobody tells them in words of their own.
    marked = {path for path, _, _ in found}
    assert {path for path, source in SOURCES.items() if ":'national'" in source} == marked


def test_a_phone_is_refused_by_the_same_rule_everywhere() -> None:
    found = {
        (path, in_general(rule))
        for path, source in SOURCES.items()
        for rule in re.findall(r"regexp_replace\( [^;]{0,120}? '', 'g' \) !~ '[^']*'", plain(source))
    }
    rules = {rule for _, rule in found}
    assert {path for path, _ in found} == {
        "enroll/apply.sql",
        "enroll/apply_distributed.sql",
        "enroll/plan.sql",
        "enroll/plan_distributed.sql",
        "explain/triggers.sql",
        "audit/leads.sql",
    }
    assert len(rules) == 1


AGREED = {
    "repair/assigned.sql": ("audit/mismatches.sql", ["online", "written", "judged"]),
    "repair/failed.sql": ("audit/failed.sql", ["cause", "failed"]),
    "repair/stranded.sql": ("audit/contacts.sql", ["step", "stranded"]),
    "repair/delay_changed.sql": ("audit/contacts.sql", ["step", "rescheduled"]),
}
"""What a repair and the audit that names it must see in the same way: the audit, which is the master, and the tables."""


@pytest.mark.parametrize("repair", AGREED)
def test_audit_and_repair_agree(repair: str) -> None:
    audit, names = AGREED[repair]
    header = (ROOT / repair).read_text()
    assert re.search(rf"-- (?:.*)Master of [a-z, ]+: sql/{audit}\n", header)
    for name in names:
        assert common_table(SOURCES[repair], name) == common_table(SOURCES[audit], name)


DISTRIBUTED = {path for path in SOURCES if path.endswith("_distributed.sql")}
OTHERWISE = {
    "explain/candidates_distributed.sql": {"placed"},
    "explain/gates_distributed.sql": {"ahead", "asked"},
    "audit/health_distributed.sql": {"due_row"},
    "audit/then_collisions_distributed.sql": {"message_was", "moved"},
    "audit/then_contacts_distributed.sql": {"finding", "known", "row_was", "written"},
    "audit/then_failed_distributed.sql": {"message_was"},
    "audit/then_mismatches_distributed.sql": {"known", "message_was", "row_was"},
    "audit/then_writers_distributed.sql": {"known", "message_was", "row_was", "rows_of"},
    "enroll/apply_distributed.sql": {"adopted", "begun", "finished", "fit", "journal", "judged", "matched"},
    "enroll/plan_distributed.sql": {"fit", "judged", "matched"},
    "probe/make_leads_distributed.sql": {"person", "place"},
    "repair/apply_distributed.sql": {
        *("blocked_changed", "blocked_entered", "blocked_fit", "changed", "contact", "contact_activated"),
        *("contact_fit", "contact_moved", "journal", "lead", "lead_changed", "lead_fit", "message"),
        *("message_changed", "message_fit", "rule_changed", "rule_fit", "wanted"),
    },
    "repair/return_distributed.sql": {"returned"},
    "tick/claim_distributed.sql": {
        *("activated", "completed", "given", "lead_changed", "message", "next_step", "reassigned"),
        "trigger_change",
    },
    "tick/find_blocked_distributed.sql": {"candidate"},
    "tick/find_replied_distributed.sql": {"candidate", "replied"},
    "tick/held_leads_distributed.sql": {"needed"},
    "tick/lock_distributed.sql": {"candidate", "locked", "ready"},
    "tick/overflow_distributed.sql": {
        "acquainted",
        "chat",
        "newcomer",
        "pick",
        "source",
        "taken",
        "unassigned",
    },
    "tick/pick_distributed.sql": {"chat", "newcomer"},
    "tick/plan_distributed.sql": {"chat", "due", "newcomer"},
    "tick/quarantine_distributed.sql": {"changed", "journal", "refused"},
    "tick/stop_blocked_distributed.sql": {"picked", "stopped"},
    "tick/stop_replied_distributed.sql": {"cancelled", "picked", "queued", "stopped"},
    "gates/spread_distributed.sql": {"pace"},
}
"""What a file for distributed tables finds in another way than the file that it stands in for."""


def common_tables(source: str) -> dict[str, str]:
    """The common table expressions of a statement by name."""
    names = re.findall(
        r"^(?:with (?:recursive )?)?(\w+)(?: \([^)\n]*\))? as (?:materialized )?\($", source, re.MULTILINE
    )
    return {name: common_table(source, rf"{name}(?: \([^)\n]*\))?") for name in names}


@pytest.mark.parametrize("path", sorted(DISTRIBUTED))
def test_what_distributed_tables_do_not_change_is_the_same(path: str) -> None:
    theirs, own = (common_tables(SOURCES[one]) for one in (path.replace("_distributed", ""), path))
    both = theirs.keys() & own.keys()
    assert {name for name in both if theirs[name] != own[name]} == OTHERWISE.get(path, set())


def test_both_gates_read_a_pause_in_the_same_way() -> None:
    steps, devices = (common_table(SOURCES[f"gates/{name}.sql"], "paused") for name in ("steps", "devices"))
    assert steps == devices


def test_repairs_look_for_the_message_of_another_processor_in_the_same_way() -> None:
    looks = re.compile(
        r"(\w+)\.contact_phone = m\.recipient_phone and \w+\.sequence_id = m\.sequence_id and coalesce\(.*?"
        r"m\.id <> md5\('seqdev message ' \|\| \w+\.id\)::uuid"
    )
    found = {
        path: re.sub(rf"\b{match[1]}\.", "ROW.", match[0])
        for path, source in SOURCES.items()
        if (match := looks.search(plain(source)))
    }
    assert {"repair/stranded.sql", "repair/quarantined.sql", "repair/undo.sql"} <= found.keys()
    assert len(set(found.values())) == 1
