"""What a second card brings, on virtual time: in the same host, and with a host of its own behind a balancer.

The arbiter is the worker's own, with clients that ask again at once, a host that prepares its photos on some cores, and
cards that take as long as measured ones (tests/support/burst_bench.py). Two cards of one host are one device
(HAILO_DEVICE_COUNT=2); two hosts share the clients evenly, as a balancer does that counts connections. The network
between hosts, JPEG's arrival and the answers' way are left out. Prints a Markdown table.
"""

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from burst_bench import Load, second_card  # noqa: E402

TASKS = {
    "search, `tinyclip`": ("tinyclip", 0),
    "search, `siglip2`": ("siglip2", 0),
    "search, `siglip`": ("siglip", 0),
    "3 faces a photo": ("faces", 3),
    "12 lines a page": ("pages", 12),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench cards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="*", default=[8, 16, 32], help="default: 8 16 32")
    parser.add_argument("--cores", type=int, default=4, help="of each host; default: 4")
    parser.add_argument("--prepare", type=float, default=20.0, help="ms of one core for a photo; default: 20")
    parser.add_argument("--link", choices=("slow", "fast"), default="fast", help="default: fast")
    chosen = parser.parse_args()
    if chosen.cores < 1 or chosen.prepare <= 0 or min(chosen.clients, default=0) < 2:
        parser.error("--cores takes 1 and more, --prepare more than 0, --clients numbers from 2 on")
    print("| task | clients | one card, 1/s | two in one host | two hosts |")
    print("|---|---|---|---|---|")
    for name, (task, parts) in TASKS.items():
        for clients in chosen.clients:
            each = second_card(Load(task, clients, chosen.prepare / 1000, chosen.link, parts, cores=chosen.cores))
            more = f"{each.two:.0f} ({each.two / each.one:.2f}) | {each.hosts:.0f} ({each.hosts / each.one:.2f})"
            print(f"| {name} | {clients} | {each.one:.0f} | {more} |", flush=True)


if __name__ == "__main__":
    main()
