"""The table of faults in docs/faults.md cannot rot: it names the scenarios that there are."""

from tests.faults.record import names
from tests.faults.table import PAGE, listed


def test_the_table_names_the_scenarios_that_exist() -> None:
    assert listed(PAGE.read_text()) == names(), "run: make faults"
    assert listed(PAGE.read_text(), "long") == names("long"), "run: make load"
    assert listed(PAGE.read_text(), "citus") == names("citus"), "run: make faults, with SEQDEV_TEST_CITUS_URL"


def test_there_are_fifty_faults_and_no_two_of_one_name() -> None:
    assert len(set(names())) == len(names()) >= 50
