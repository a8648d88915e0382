"""``make faults`` and ``make load``: the scenarios; when all are green, their table in docs/faults.md.

Where SEQDEV_TEST_CITUS_URL names a Citus, ``make faults`` breaks that instead.

python -m tests.faults.run [long] [pytest's options]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.record import names
from tests.world import citus
from tests.world.command import ROOT


def main(options: list[str]) -> int:
    """Run all of it, the ``long`` run with all other load tests; the exit code."""
    long = options[:1] == ["long"]
    table = "long" if long else "citus" if citus.URL else "faults"
    with tempfile.TemporaryDirectory(prefix="seqdev-faults-run-") as folder:
        record = Path(folder) / "record"
        environment = os.environ | {"SEQDEV_TEST_FAULTS_RECORD": str(record)}
        pytest = [sys.executable, "-m", "pytest", "-rs", "--durations", "10"]
        # Three on two cores: a good part of it is waiting.
        short = ["-m", "not load", "tests/faults", "-n", "3", "--dist", "worksteal"]
        runs = {
            "long": ["-m", "load", *options[1:]],
            "faults": [*short, *options],
            "citus": ["-m", "faults", "tests/faults/test_citus.py", *options],
        }
        argv = [*pytest, *runs[table]]
        code = subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode
        if code:
            return code
        lines = record.read_text().splitlines() if record.exists() else []
        if missing := set(names(table)) - {json.loads(line)["fault"] for line in lines}:
            print("NOT SHOWN:", *sorted(missing), sep="\n")
            print("the table in docs/faults.md stays as it is")
            return 0
        write = [sys.executable, "-m", "tests.faults.table", str(record), table]
        return subprocess.run(write, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
