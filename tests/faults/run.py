"""``make faults``: every scenario; when all are green, the table in README.md.

python -m tests.faults.run [pytest's options]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.record import names


def main(options: list[str]) -> int:
    """Run all of it; the exit code."""
    with tempfile.TemporaryDirectory(prefix="seqdev-faults-run-") as folder:
        record = Path(folder) / "record"
        environment = os.environ | {"SEQDEV_TEST_FAULTS_RECORD": str(record)}
        pytest = [sys.executable, "-m", "pytest", "-m", "not load", "-rs", "tests/faults"]
        # Three on two cores: a good part of it is waiting.
        argv = [*pytest, "-n", "3", "--dist", "worksteal", "--durations", "10", *options]
        code = subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode
        if code:
            return code
        lines = record.read_text().splitlines() if record.exists() else []
        if missing := set(names()) - {json.loads(line)["fault"] for line in lines}:
            print("NOT SHOWN:", *sorted(missing), sep="\n")
            print("the table in README.md stays as it is")
            return 0
        return subprocess.run(
            [sys.executable, "-m", "tests.faults.table", record], cwd=ROOT, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
