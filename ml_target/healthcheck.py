"""`python3 -m ml_target.healthcheck`: see api/health.py."""

import sys

from ml_target.api.health import main

if __name__ == "__main__":
    sys.exit(main())
