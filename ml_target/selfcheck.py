"""`python3 -m ml_target.selfcheck`: the older form of `python3 -m ml_target selfcheck`."""

import sys

from ml_target.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["selfcheck", *sys.argv[1:]]))
