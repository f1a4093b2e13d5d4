"""`python3 -m ml_target.inspect_models`: see diagnostics/networks.py."""

import sys

from ml_target.diagnostics.networks import main

if __name__ == "__main__":
    sys.exit(main())
