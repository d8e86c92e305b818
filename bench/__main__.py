"""python -m bench [name ...]: runs benches and prints their tables. See README.md for how to read them."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

from bench.measure import Differs, say

#: In the order in which they run; each is a module with `run(options)`.
BENCHES = ("mapping", "imports", "orders", "resync", "match", "landing", "stock", "books", "year", "memory")


def main() -> int:
    """0 whatever the times are; 1 when contenders did not do the same work."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHES)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each contender (3)")
    parser.add_argument(
        "--orders", type=int, help="orders end to end (10,000; 40,000 with --large); of the year (100,000)"
    )
    parser.add_argument("--items", type=int, default=100_000, help="products of bench stock (100,000)")
    parser.add_argument("--large", action="store_true", help="40,000 orders, and memory at 100,000")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before each answer of the shop")
    parser.add_argument("--only", nargs="*", help="of bench orders: only these contenders beside ours")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BENCHES))
    if unknown:
        parser.error(f"unknown bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    options.asked_orders = options.orders
    options.orders = options.orders or (40_000 if options.large else 10_000)
    say(
        f"Comptoir's benches on Python {platform.python_version()}, {os.cpu_count()} cores; "
        f"load before: {os.getloadavg()[0]:.1f}. Only ratios inside one run count."
    )
    differing = False
    for name in BENCHES:
        if options.names and name not in options.names:
            continue
        if name in ("year", "memory") and not (options.large or options.names):
            say(f"\n({name} is measured with --large only)")
            continue
        try:
            importlib.import_module(f"bench.{name}").run(options)
        except Differs as error:
            differing = True
            say(f"\n{name}: DIFFERENT RESULTS, so no times: {error}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
