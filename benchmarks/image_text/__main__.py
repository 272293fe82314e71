"""easy-VQA, NLVR, COCO photographs, emoji and stories as conversations, each training set with held-out questions on other pictures.

python -m pip download --no-deps easy-vqa==1.0                                                     3 MB
AR_DATA_DIR=DATA python -m benchmarks.image_text prepare --easy-vqa easy_vqa-1.0-py3-none-any.whl --output DIR

Writes DIR/{easy_vqa,nlvr,coco,emoji,stories}_train.jsonl, which `data.path` of the recipes of dvlm takes, DIR/*_held_out.jsonl, which
`ar-decode eval-vlm input=` takes, and the pictures as they are; train.yaml, all training sets as one; blind_train.jsonl, the same without
pictures; priors.json, how often each answer is right in training. No picture is on both sides; stories have none.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import command_line, exit_code
from ..data import staged_folder


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = command_line("benchmarks.image_text", __doc__)
    prepare = parser.add_subparsers(dest="command", required=True).add_parser("prepare")
    prepare.add_argument("--easy-vqa", type=Path, required=True, help="the wheel that `pip download` left")
    prepare.add_argument(
        "--output", type=Path, required=True, help="folder to write; what an earlier run wrote is replaced"
    )
    return exit_code(_prepare, parser.parse_args(given))


def _prepare(arguments: argparse.Namespace) -> int:
    from .prepare import write_all

    for line in write_all(staged_folder("image_text/ and text/"), arguments.easy_vqa, arguments.output):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
