"""What the plan of bursts is worth beside the best size that never changes, on virtual time: no card, no waiting.

The arbiter is the worker's own, with clients that ask again at once, a host that prepares on two cores, and a card that
takes as long as measured ones (tests/support/burst_bench.py). Prints the cells of the grid, the worst first.
"""

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from burst_bench import cell, grid  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench bursts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20, help="cells to print; default: 20")
    parser.add_argument("--only", default="", help="cells whose words hold this, as in 'siglip, slow link'")
    chosen = parser.parse_args()
    cells = sorted((cell(load) for load in grid() if chosen.only in str(load)), key=lambda each: each.ratio)
    print("| load | planned, 1/s | best fixed size, 1/s | its size | ratio |")
    print("|---|---|---|---|---|")
    for each in cells[: chosen.rows]:
        print(f"| {each.load} | {each.rate:.1f} | {each.best:.1f} | {each.size} | {each.ratio:.2f} |")
    short = sum(each.ratio < 0.9 for each in cells)
    print(f"\n{len(cells)} cells, {short} of them more than a tenth behind")


if __name__ == "__main__":
    main()
