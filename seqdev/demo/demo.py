"""The demo: the main job, from an empty database to an incident and its repair, told while it happens."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

from seqdev.demo.stage import (
    CAST,
    DATABASE,
    DEVICES,
    MOVE_ON,
    PROMISES,
    RECOVER,
    SIGN_UPS,
    STANDING,
    TO_COME,
    TRIGGERS,
    TROUBLE,
    Seqdev,
    Stage,
)
from seqdev.output.render import Writer
from seqdev.postgres.engine import Database

_ALICE = UUID("a11ce000-0000-4000-8000-000000000001")
_BOB = UUID("b0b00000-0000-4000-8000-000000000002")

_NEWCOMER = "+60 11-5520 0007"

Line = tuple[str, str, str, str]
"""A line of a file of leads: phone, name, niche, trigger."""

_WRONG: dict[int, Line] = {
    100: ("12345", "Too short", "tea", "WARM"),
    700: ("", "Phone forgotten", "tea", "WARM"),
    701: ("ask her mother", "No digits", "tea", "WARM"),
    1500: ("+60 11-5500 0042", "Customer 43 again", "tea", "WARM"),
}
"""Lines that an import rejects, by the number of the line that they come after."""


def tell(seqdev: Seqdev, database: Database, writer: Writer) -> None:
    """Tell the story on ``database``, new and empty, with its files in the current folder."""
    stage = Stage(seqdev, database, writer, chapters=11)
    _prepare(stage)
    _first_day(stage)
    _days_after(stage)
    _incident(stage)
    _repair(stage)
    stage.farewell()


def _prepare(stage: Stage) -> None:
    stage.chapter(
        "A scratch database",
        f"A new and empty database, {DATABASE}. On a database of your own, 'seqdev db check' tells what "
        "is missing. Here all of it is, so:",
    )
    stage.run("db init")
    stage.chapter(
        "Two users, twelve devices",
        "Alice sells tea with eight devices (sending phones), Bob sells books with four. Alice has two "
        "sequences: Welcome, a message a day for three days, whose last step leads on to Loyalty. Bob "
        "has one, Hello. These are their devices:",
    )
    stage.play(CAST, alice=_ALICE, bob=_BOB)
    stage.show(DEVICES)
    stage.chapter(
        "Leads from a file",
        "Alice has 2,400 people in a CSV file (phone, name, niche, trigger), with some lines gone wrong, as "
        "files have. They are dealt out to her devices: from then on each person belongs to one device.",
    )
    _write("alice.csv", _alice())
    stage.run("leads import alice.csv --user a11ce --distribute --rejects rejects.csv")
    stage.say("The rejected lines are in rejects.csv, to be put right and imported again:")
    stage.read("rejects.csv")
    stage.say("Bob has 600, half of whom Alice knows too: the same phone may belong to two users.")
    _write("bob.csv", _bob())
    stage.run("leads import bob.csv --user b0b0 --distribute")
    stage.play(SIGN_UPS, user=_ALICE, most=6)
    stage.chapter(
        "Enrolment",
        "A lead's trigger list says which sequences to enter. Welcome and Hello are both entered by WARM, "
        "each by its own user's leads. WARMEXAMA is another word: it must not match WARM. (Six people have "
        "signed up on Alice's web site meanwhile, where nobody gave them a device.)",
    )
    stage.show(TRIGGERS)
    stage.say("Whom would an enrolment take? --dry-run tells, and changes nothing:")
    stage.run("enroll --dry-run")
    stage.say("The six are named, with the reason. Now everybody else gets the row of their first step:")
    stage.run("enroll --yes")


def _first_day(stage: Stage) -> None:
    stage.chapter(
        "A tick, and devices in trouble",
        "'seqdev tick' queues the messages that are due; cron runs it every minute. But alice-3 and bob-2 "
        "have lost their connection, and a campaign of 50 messages waits on alice-5, which is as much as "
        "a device may have in flight. The policy 'strict' heeds that:",
    )
    stage.play(TROUBLE, offline=["alice-3", "bob-2"], full="alice-5", most=50)
    stage.run("tick --policy strict --dry-run")
    stage.say(
        "Nobody gets a message from a device that is not their own. Who waits, waits with a reason, and "
        "holds up nobody else. Without --dry-run:"
    )
    stage.run("tick --policy strict")
    stage.chapter(
        "The default policy, twice",
        "The policy 'queue' leaves the pace to the broadcast worker, which sends what is in the queue: "
        "all that is due is queued at once, each message on the person's own device.",
    )
    stage.run("tick")
    stage.say(
        "Hello has one step, so that Bob's people have ended already. Now again, as cron would: nothing is "
        "due, so nothing happens."
    )
    stage.run("tick")
    stage.chapter(
        "The messages go out",
        "The broadcast worker is not seqdev's; one statement plays it here. It sends what is queued on "
        "devices that are online. A few numbers turn out to be out of use.",
    )
    stage.work()
    stage.show(DEVICES)


def _days_after(stage: Stage) -> None:
    stage.chapter(
        "Two days later",
        "The database's clock decides what is due, so time is moved on by moving all rows a day into the "
        "past. The lost devices are back, and send what waited for them.",
    )
    stage.play(RECOVER)
    stage.work()
    stage.play(MOVE_ON)
    stage.say("The second day. Failed messages now show on the people they were for (failed reflected):")
    stage.run("tick")
    stage.work()
    stage.play(MOVE_ON)
    stage.say("The third day: Welcome is over for everybody, and its last step chains on to Loyalty:")
    stage.run("tick")
    stage.work()
    stage.chapter(
        "The chain",
        "In the leads' trigger lists, LOYAL has taken the place of WARM, and the next enrolment finds it. "
        "First, the six from the web site get a device: the import gives owners to leads without one.",
    )
    stage.show(TRIGGERS)
    _write("visitors.csv", _visitors())
    stage.run("leads import visitors.csv --user a11ce --device alice-1 --existing update")
    stage.run("enroll --yes")
    stage.say("On to the end, three days in a row:")
    for _ in range(3):
        stage.run("tick")
        stage.work()
        stage.play(MOVE_ON)
    stage.say("Where everybody stands:")
    stage.show(STANDING)
    stage.say("What seqdev promises, counted in the messages themselves: none twice, none misdirected.")
    stage.show(PROMISES)


def _incident(stage: Stage) -> None:
    stage.chapter(
        "A device dies",
        "Twelve newcomers join Alice, all on her device alice-4, and get their first message from it.",
    )
    _write("newcomers.csv", _newcomers())
    stage.run("leads import newcomers.csv --user a11ce --device alice-4")
    stage.run("enroll --yes")
    stage.run("tick")
    stage.work()
    stage.play(MOVE_ON)
    stage.play(TROUBLE, offline=["alice-4"])
    stage.say(
        "The next day alice-4 is dead. With the policy 'fallback', other devices stand in for it (moved): "
        "only Alice's, never Bob's. It is a choice: 'strict' would let the twelve wait."
    )
    stage.run("tick --policy fallback")
    stage.work()
    stage.say(
        "So twelve people were written to by a device that is not the one assigned. At 3 am, this is where "
        "to begin: which messages, why, and the repair that fits."
    )
    stage.run("audit mismatches --limit 3")
    stage.say("And this tells the story of one of them, by phone. Their next step waits for the dead device:")
    stage.run(f"explain '{_NEWCOMER}'")


def _repair(stage: Stage) -> None:
    stage.chapter(
        "Repair, and undo",
        "The repair that the audit names: let the device that wrote to a person last go on. --dry-run shows "
        "the plan, and changes nothing:",
    )
    stage.run("repair assigned --dry-run")
    stage.say("Do it:")
    stage.run("repair assigned --yes")
    stage.say("Nobody waits for alice-4 any more:")
    stage.show(TO_COME)
    stage.say(
        "A mistake? Every changed value is in a journal with its old one. The run is named by its id, or by "
        "the beginning of it:"
    )
    stage.undo()
    stage.say("All is as it was before:")
    stage.show(TO_COME)
    stage.say("No, the repair was right: an undo can be undone, too.")
    stage.undo()
    stage.run("repair list")
    stage.say("The day after, alice-4 is still dead, and even under 'strict' nobody waits:")
    stage.play(MOVE_ON)
    stage.run("tick --policy strict")
    stage.work()
    stage.say(
        "The audit of the last hour finds nothing more. (With --since 2d it lists the twelve of that night: "
        "what was sent stays on record.)"
    )
    stage.run("audit mismatches")


def _alice() -> Iterator[Line]:
    triggers = (*["WARM"] * 8, "NEWS,WARM", "WARMEXAMA", "WARMEXAMA", "NEWS")
    for n in range(2400):
        yield f"+60 11-5500 {n:04d}", f"Customer {n + 1}", "tea", triggers[n % 12]
        if n in _WRONG:
            yield _WRONG[n]


def _bob() -> Iterator[Line]:
    for n in range(600):
        phone = f"+60 11-{5500 if n < 300 else 5510} {n:04d}"
        yield phone, f"Reader {n + 1}", "books", ("WARM", "WARM", "NEWS")[n % 3]


def _visitors() -> Iterator[Line]:
    for n in range(1, 7):
        yield f"+1 202-555-0{150 + n}", f"Visitor {n}", "tea", "WARM"


def _newcomers() -> Iterator[Line]:
    for n in range(1, 13):
        yield f"+60 11-5520 {n:04d}", f"Newcomer {n}", "tea", "WARM"


def _write(name: str, lines: Iterable[Line]) -> None:
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["phone", "name", "niche", "trigger"])
        writer.writerows(lines)
