"""``python -m seqdev``, and the console script: the process, around ``cli.main``."""

import gc
import sys

from seqdev import signals
from seqdev.errors import Interrupted, code_of


def entry() -> None:
    """Run the process's command line, and exit. Signals are heard from before the rest is imported."""
    signals.install()
    # Until there is a connection: imports make no garbage, and looking for it costs a tenth of the start.
    gc.disable()
    if sys.argv[1:2] == ["completion"] and sys.argv[-1] == "--words":
        from seqdev.postgres.names import asking

        asking()
    try:
        from seqdev.cli import main

        code = main()
    except Interrupted as error:
        print(f"seqdev: {signals.name(error.number)}", file=sys.stderr)
        code = code_of(error)
    signals.ignore()
    sys.exit(code)


if __name__ == "__main__":
    entry()
