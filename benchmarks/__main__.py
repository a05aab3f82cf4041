"""``./dev bench [NAME ...]``: run the benchmarks, each side by side with what one would use instead."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("gate", "partitions", "calibration", "tails", "slices", "canary", "action")


def main() -> int:
    wanted = sys.argv[1:] or NAMES
    if unknown := set(wanted) - set(NAMES):
        sys.stderr.write(f"no such benchmark: {min(unknown)}; known: {', '.join(NAMES)}\n")
        return 2
    for name in wanted:
        print(f"\n== {name} " + "=" * 60)
        import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
