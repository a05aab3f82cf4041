"""``python -m tidegate.endpoint stop FOLDER``: end an embedded endpoint's processes.

Counts and wanted state stay; the next pass of the engine starts it again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tidegate.endpoint import control


def main() -> None:
    """Stop one endpoint."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.endpoint", description=__doc__)
    parser.add_argument("verb", choices=["stop"])
    parser.add_argument("folder", type=Path, help="such as .tidegate/endpoints/credit-risk")
    control.stop(parser.parse_args().folder)


if __name__ == "__main__":
    main()
