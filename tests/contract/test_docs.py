"""README.md and docs/ say what is: pages are generated, examples run, tables are the code's, links lead somewhere."""

import os
import re
import shutil
import subprocess
import tomllib
import warnings
from pathlib import Path

import pytest

from seqdev.commands.help import TOPICS, text
from seqdev.errors import Exit
from seqdev.explain.advice import UNBLOCK
from seqdev.output import manual
from seqdev.postgres import binaries as server_binaries
from seqdev.rules.rules import SCOPES
from seqdev.settings import KEYS, RULES, Policy, Rules, Settings, load, text_of, value_of
from tests.contract.pages import DOCS, MAN, REFERENCE, keep
from tests.contract.reference import all_commands, reference
from tests.world import citus
from tests.world.command import ROOT

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
ALL = "\n".join(page.read_text() for page in PAGES)


def ids(page: Path) -> str:
    return page.name


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_is_what_the_commands_say() -> None:
    keep(REFERENCE, reference())


def test_the_manual_pages_are_what_the_commands_say() -> None:
    pages = {
        MAN / f"{path.replace(' ', '-')}.1": manual.page(command, context)
        for path, command, context in all_commands()
        if path.count(" ") < 2
    }
    for file, page in pages.items():
        keep(file, page)
    assert set(MAN.iterdir()) == set(pages)


@pytest.mark.thorough
def test_man_has_nothing_to_warn_of() -> None:
    if not shutil.which("man"):
        warnings.warn("NOT TESTED: the manual pages, as there is no man on this machine", stacklevel=1)
        pytest.skip("no man on this machine")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l", *sorted(MAN.iterdir())],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8", "MANROFFSEQ": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_of_the_help_is_in_the_documentation(name: str) -> None:
    assert TOPICS[name].about
    assert len(text(TOPICS[name]).splitlines()) > 10


def test_the_readme_has_two_hundred_lines_at_most() -> None:
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text())
    for path, anchor in links:
        target = (page.parent / path) if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=ids)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in README.read_text()


def test_every_make_target_that_is_named_exists_and_every_target_is_described() -> None:
    targets = set(re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?<![\w.])make ([\w-]+)`", ALL)) <= targets
    described = set(re.findall(r"^\| `make ([\w-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert described == targets


def test_every_command_that_an_example_types_exists() -> None:
    known = {path for path, _, _ in all_commands()}
    groups = {path for path in known if any(other.startswith(f"{path} ") for other in known)}
    typed = re.findall(r"^\$ (seqdev(?: [a-z][\w-]*)*)", ALL, re.M)
    assert len(typed) > 20
    for words in typed:
        found = max((path for path in known if f"{words} ".startswith(f"{path} ")), key=len)
        assert found not in groups - ({"seqdev"} if words == "seqdev" else set()), words


def test_the_exit_codes_are_the_codes() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (DOCS / "exit-codes.md").read_text(), re.M)}
    assert listed == {int(code) for code in Exit}


def test_every_policy_is_explained() -> None:
    rows = re.findall(
        r"^\| `(\w+)`(?: \(default\))? \| queued", (DOCS / "policies-and-reasons.md").read_text(), re.M
    )
    assert rows == list(Policy)


def test_every_reason_to_wait_is_explained() -> None:
    page = (DOCS / "policies-and-reasons.md").read_text()
    listed = {
        reason
        for row in re.findall(r"^\| (`\w+`.*?) \|", page, re.M)
        for reason in re.findall(r"`(\w+)`", row)
    }
    stopped_without_being_due = {
        "row_not_active",
        "quarantined",
        "step_before",
        "sequence_missing",
        "sequence_inactive",
        "not_due",
    }
    assert UNBLOCK.keys() - stopped_without_being_due <= listed


def test_the_configuration_example_has_every_key_with_its_default(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.S)
    assert set(tomllib.loads(example)) == set(KEYS) - {"mask", *RULES}
    file = tmp_path / "config.toml"
    file.write_text(example)
    settings = load(file, {}, {"database_url": ""})
    assert settings == Settings()


def test_the_table_of_rules_has_every_rule_with_its_default_and_scopes() -> None:
    page = (DOCS / "configuration.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`|empty) \| (.*?) \|", page, re.M)
    assert [name for name, _, _ in listed] == list(RULES)
    for name, default, scopes in listed:
        assert value_of(name, default) == value_of(name, text_of(name, Rules())), name
        assert scopes.split(", ") == list(SCOPES[name]), name


@pytest.mark.parametrize("example", re.findall(r"^\$ psql -d service (.*?)(?:  +#.*)?$", ALL, re.M))
def test_the_psql_examples_run(example: str, database: str) -> None:
    if citus.URL:
        # As docs/sql-files.md says: the file by hand, and the gates by a variable.
        file = re.search(r"sql/\S+\.sql", example)
        if file and (ROOT / (distributed := file[0].replace(".sql", "_distributed.sql"))).exists():
            example = f"-v distributed=true {example.replace(file[0], distributed)}"
    done = subprocess.run(
        [server_binaries.psql_path(), "-X", "-v", "ON_ERROR_STOP=1", "-d", database, *example.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_test_command_of_ci_is_the_readmes() -> None:
    assert "make test\n" in (ROOT / ".ci" / "run").read_text()
