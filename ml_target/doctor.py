"""`python3 -m ml_target.doctor`: the older form of `python3 -m ml_target doctor`."""

import sys

from ml_target.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["doctor", *sys.argv[1:]]))
