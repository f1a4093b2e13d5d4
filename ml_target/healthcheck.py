"""`python3 -m ml_target.healthcheck`: the older form of `python3 -m ml_target healthcheck`."""

import sys

from ml_target.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["healthcheck", *sys.argv[1:]]))
