"""``make faults``: every scenario, in a few pytest processes at once; when all are green, the table in README.md.

    python -m tests.faults.run [pytest's options]

Each process has a server of its own. SEQDEV_TEST_SEED repeats a run's choices.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.record import names

HERE = Path(__file__).parent

LONGEST_FIRST = ["kills", "failpoints", "network", "data", "locks", "arguments"]
"""So that the last one to end is a short one."""


def main(options: list[str]) -> int:
    """Run all of it; the exit code."""
    files = sorted(HERE.glob("test_*.py"), key=lambda file: _place(file.stem.removeprefix("test_")))
    with tempfile.TemporaryDirectory(prefix="seqdev-faults-run-") as folder:
        record = Path(folder) / "record"
        environment = os.environ | {"SEQDEV_TEST_FAULTS_RECORD": str(record)}
        waiting, running, failed = list(files), dict[Path, subprocess.Popen[bytes]](), list[Path]()
        began = time.monotonic()
        while waiting or running:
            while waiting and len(running) < max(2, (os.cpu_count() or 2)):
                file = waiting.pop(0)
                argv = [sys.executable, "-m", "pytest", "-m", "not load", str(file), *options]
                log = (Path(folder) / file.stem).open("wb")
                running[file] = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=log, stderr=log)
            for file, process in list(running.items()):
                # 5: the options have chosen none of its scenarios.
                if process.poll() is None:
                    continue
                del running[file]
                print(f"--- {file.stem}, after {time.monotonic() - began:.0f} s", flush=True)
                print((Path(folder) / file.stem).read_text(errors="replace"), flush=True)
                if process.returncode not in (0, 5):
                    failed.append(file)
            time.sleep(0.2)
        if failed:
            print("failed:", *(file.stem for file in failed))
            return 1
        lines = record.read_text().splitlines() if record.exists() else []
        if missing := set(names()) - {json.loads(line)["fault"] for line in lines}:
            print("NOT SHOWN:", *sorted(missing), sep="\n")
            print("the table in README.md stays as it is")
            return 0
        return subprocess.run(
            [sys.executable, "-m", "tests.faults.table", record], cwd=ROOT, check=False
        ).returncode


def _place(name: str) -> int:
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
