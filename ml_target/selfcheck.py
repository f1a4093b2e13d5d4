"""`python3 -m ml_target.selfcheck`: see diagnostics/selfcheck.py."""

import sys

from ml_target.diagnostics.selfcheck import main

if __name__ == "__main__":
    sys.exit(main())
