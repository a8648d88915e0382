"""What address books and spreadsheets export is imported by its own headers."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.host import Host

# The header lines as the services write them, where a column of theirs matters here or could be mistaken.
GOOGLE = (
    "First Name,Middle Name,Last Name,Phonetic First Name,Phonetic Middle Name,Phonetic Last Name,Name Prefix,"
    "Name Suffix,Nickname,File As,Organization Name,Organization Title,Organization Department,Birthday,Notes,"
    "Photo,Labels,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value,Phone 2 - Label,"
    "Phone 2 - Value,Phone 3 - Label,Phone 3 - Value,Address 1 - Label,Address 1 - Formatted"
)
OLD_GOOGLE = (
    "Name,Given Name,Additional Name,Family Name,Yomi Name,Given Name Yomi,Additional Name Yomi,Family Name Yomi,"
    "Name Prefix,Name Suffix,Initials,Nickname,Short Name,Maiden Name,Birthday,Gender,Location,Group Membership,"
    "E-mail 1 - Type,E-mail 1 - Value,Phone 1 - Type,Phone 1 - Value,Phone 2 - Type,Phone 2 - Value,"
    "Organization 1 - Type,Organization 1 - Name"
)
HUBSPOT = (
    "Record ID,First Name,Last Name,Email,Phone Number,Mobile Phone Number,WhatsApp Phone Number,Fax Number,"
    "Contact owner,Company Name,Job Title,Lifecycle Stage,Lead Status,Create Date"
)
OUTLOOK = (
    "Title,First Name,Middle Name,Last Name,Suffix,Company,Department,Job Title,Assistant's Phone,Business Fax,"
    "Business Phone,Business Phone 2,Callback,Car Phone,Company Main Phone,Home Fax,Home Phone,Home Phone 2,ISDN,"
    "Mobile Phone,Other Fax,Other Phone,Pager,Primary Phone,Radio Phone,TTY/TDD Phone,Telex,Categories,"
    "E-mail Address,E-mail Display Name,Notes,User 1"
)


def number(n: int) -> str:
    return f"+1 202-555-01{n:02}"


def load(host: Host, seqdev: Cli, file: Path, *options: str) -> tuple[Any, str, list[Any]]:
    """Import the file for a user of its own; the summary, stderr, and phones and names."""
    user = host.user()
    device = host.device(user)
    ran = seqdev(
        *(
            "leads",
            "import",
            str(file),
            "--user",
            str(user),
            "--device",
            str(device),
            "--format",
            "json",
            *options,
        )
    )
    summary = json.loads(ran.out)["import"] if ran.out else {"code": ran.code}
    found = host.rows("select phone, name from leads where user_id = %s order by phone", user)
    return summary, ran.err, [(phone[-2:], name) for phone, name in found]


def write(file: Path, headers: str, *records: dict[str, str]) -> None:
    columns = headers.split(",")
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, restval="")
        writer.writeheader()
        writer.writerows(records)


def test_google_contacts_by_the_labels_of_each_record(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    one = {"Phone 1 - Label": "* Work", "Phone 1 - Value": number(1)}
    write(
        file,
        GOOGLE,
        {"First Name": "Ana", "Middle Name": "B.", "Last Name": "Lim", **one, "Phone 2 - Label": "Mobile", "Phone 2 - Value": number(2)},
        {"First Name": "Bo", **one, "Phone 2 - Label": "Home", "Phone 2 - Value": f"12 ::: {number(3)} ::: {number(4)}"},
        {"First Name": "Cy", "Phone 1 - Label": "Work Fax", "Phone 1 - Value": number(5), "Phone 2 - Value": number(6)},
        {"First Name": "Di", **one, "Phone 1 - Value": number(7), "Phone 2 - Label": "Mum", "Phone 2 - Value": number(8), "Phone 3 - Label": "My WhatsApp", "Phone 3 - Value": number(9)},
        {"First Name": "Fax", "Phone 1 - Label": "Home Fax", "Phone 1 - Value": number(10), "Phone 2 - Label": "Pager", "Phone 2 - Value": number(11)},
    )  # fmt: skip
    summary, said, found = load(host, seqdev, file, "--rejects", str(tmp_path / "rejects.csv"))
    assert found == [("02", "Ana B. Lim"), ("03", "Bo"), ("06", "Cy"), ("09", "Di")]
    assert summary["reasons"] == {"missing_phone": 1}
    assert (
        "phone: the first valid one of 'Phone 1 - Value', 'Phone 2 - Value', 'Phone 3 - Value', by their labels\n"
        in said
    )
    assert "columns ignored: 'Phonetic First Name', " in said


def test_google_contacts_of_former_years(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    file = tmp_path / "google.csv"
    both = {"Phone 1 - Type": "Home", "Phone 1 - Value": number(1), "Phone 2 - Type": "* Mobile"}
    write(
        file,
        OLD_GOOGLE,
        {"Name": "Ana Lim", "Given Name": "Ana", "Family Name": "Lim", **both, "Phone 2 - Value": number(2)},
        {
            "Given Name": "Bo",
            "Additional Name": "C.",
            "Family Name": "Ong",
            "Group Membership": "* myContacts",
            **both,
        },
    )
    summary, _, found = load(host, seqdev, file)
    assert (found, summary["imported"]) == ([("01", "Bo C. Ong"), ("02", "Ana Lim")], 2)


def test_hubspot_and_outlook_by_the_order_of_their_columns(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    file = tmp_path / "hubspot.csv"
    write(
        file,
        HUBSPOT,
        {"First Name": "Ana", "Last Name": "Lim", "Phone Number": number(1), "Mobile Phone Number": number(2)},
        {"First Name": "Bo", "Phone Number": number(3), "Mobile Phone Number": "ext. 5", "Fax Number": number(4)},
        {"First Name": "Cy", "Phone Number": number(5), "Mobile Phone Number": number(6), "WhatsApp Phone Number": number(7)},
    )  # fmt: skip
    _, said, found = load(host, seqdev, file)
    assert found == [("02", "Ana Lim"), ("03", "Bo"), ("07", "Cy")]
    assert "the first valid one of 'WhatsApp Phone Number', 'Mobile Phone Number', 'Phone Number'\n" in said
    assert "'Fax Number', 'Contact owner'" in said
    phones = ("Mobile Phone", "Primary Phone", "Home Phone", "Home Phone 2", "Business Phone", "Other Phone")
    never = {"Business Fax": number(90), "Home Fax": number(91), "Pager": number(92), "Callback": number(93)}
    write(
        file,
        OUTLOOK,
        *({"First Name": str(n), **{name: number(n * 10 + place) for place, name in enumerate(phones[n:])}, **never}
          for n in range(7)),
    )  # fmt: skip
    summary, _, found = load(host, seqdev, file, "--rejects", str(tmp_path / "rejects.csv"))
    assert found == [(f"{n}0", str(n)) for n in range(6)]
    assert summary["reasons"] == {"missing_phone": 1}
    # Back from the rejected lines.
    text = (tmp_path / "rejects.csv").read_text()
    assert text.count("'+1 202-555-019") == 4
    (tmp_path / "rejects.csv").write_text(text.replace("'+1 202-555-0190", "").replace(",6,", ",=6,"))
    again, _, _ = load(host, seqdev, tmp_path / "rejects.csv", "--rejects", str(file))
    assert again["reasons"] == {"missing_phone": 1}


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        ("name,Home Fax,Pager", "no column for the phone in the header line: 'name', 'Home Fax', 'Pager'"),
        ("Mobile,Cell Phone", "two columns for the phone: 'Mobile' and 'Cell Phone'"),
        ("Home Phone 2,home_phone2", "two columns for the phone: 'Home Phone 2' and 'home_phone2'"),
    ],
)
def test_columns_of_phones_that_nothing_tells_apart_are_named(
    host: Host, seqdev: Cli, tmp_path: Path, headers: str, complaint: str
) -> None:
    write(tmp_path / "leads.csv", headers)
    summary, said, _ = load(host, seqdev, tmp_path / "leads.csv")
    assert summary == {"code": 2}
    assert complaint in said


@pytest.mark.parametrize("told", ["sep=;", "SEP=|", '"sep=\t"', "\ufeffsep=,", "sep=^"])
def test_the_line_that_tells_excel_the_delimiter_is_understood(
    host: Host, seqdev: Cli, tmp_path: Path, told: str
) -> None:
    """The other delimiters are more frequent in the header."""
    file = tmp_path / "leads.csv"
    sign = told.rstrip('"')[-1]
    other = "," if sign == ";" else ";"
    rows = [
        f'name{sign}phone{sign}"a{other}{sign}{other}\nb{other}"',
        f"Ana{other}{sign}{number(1)}{sign}",
        f"B{sign}1{sign}",
    ]
    file.write_bytes("\r\n".join([told, *rows, ""]).encode())
    summary, _, found = load(host, seqdev, file, "--rejects", str(tmp_path / "rejects.csv"))
    assert (found, summary["reasons"]) == ([("01", f"Ana{other}")], {"bad_phone": 1})
    # Counted as in the file.
    assert (tmp_path / "rejects.csv").read_text().splitlines()[1].startswith("5,bad_phone,B,1")
