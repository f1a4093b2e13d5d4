"""`python3 -m ml_target.inspect_models`: the older form of `python3 -m ml_target models`."""

import sys

from ml_target.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["models", *sys.argv[1:]]))
