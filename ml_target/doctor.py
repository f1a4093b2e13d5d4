"""`python3 -m ml_target.doctor`: whether card, driver, HailoRT, settings and model files are as they should be."""

import sys

from ml_target.diagnostics.doctor import main

if __name__ == "__main__":
    sys.exit(main())
