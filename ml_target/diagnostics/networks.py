"""`python3 -m ml_target.inspect_models`: the catalogue of model files against what is there."""

import argparse
import sys

from ml_target.catalogue.types import CHIPS
from ml_target.config import Settings
from ml_target.errors import ModelError, SettingsError
from ml_target.log.terminal import replace_unprintable
from ml_target.store.command import open_store
from ml_target.store.inventory import table, take_stock


def main(arguments: list[str] | None = None) -> int:
    """Prints the table. Exit code 0 whatever is missing, 2 when settings or records cannot be read."""
    replace_unprintable()
    parser = argparse.ArgumentParser(prog="python3 -m ml_target.inspect_models", description=main.__doc__)
    parser.add_argument("--chip", choices=CHIPS, default="hailo8", help="which HEFs (default: hailo8)")
    parser.add_argument("--fresh", action="store_true", help="read every file again, also those on record")
    args = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
        print(table(take_stock(open_store(settings), args.chip, fresh=args.fresh)))
    except (SettingsError, ModelError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
