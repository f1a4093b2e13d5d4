"""`python3 -m ml_target.hef_inspect`: the older form of `python3 -m ml_target inspect`."""

import sys

from ml_target.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["inspect", *sys.argv[1:]]))
