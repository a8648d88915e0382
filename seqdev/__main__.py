"""``python -m seqdev``."""

import sys

from seqdev.cli import main

sys.exit(main())
