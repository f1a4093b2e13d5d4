"""`python3 -m ml_target.hef_inspect`: see diagnostics/hef.py."""

import sys

from ml_target.diagnostics.hef import main

if __name__ == "__main__":
    sys.exit(main())
