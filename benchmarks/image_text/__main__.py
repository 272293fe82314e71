"""easy-VQA, NLVR, COCO photographs, emoji and stories as conversations, each training set with held-out questions on other pictures.

python -m pip download --no-deps easy-vqa==1.0                                                     3 MB
AR_DATA_DIR=DATA python -m benchmarks.image_text prepare --easy-vqa easy_vqa-1.0-py3-none-any.whl --output DIR

Writes DIR/{easy_vqa,nlvr,coco,emoji,stories}_train.jsonl, which `data.path` of the recipes of dvlm takes, DIR/*_held_out.jsonl, which
`ar-decode eval-vlm input=` takes, and the pictures as they are; train.yaml, all training sets as one; blind_train.jsonl, the same without
pictures; priors.json, how often each answer is right in training. No picture is on both sides; stories have none.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ar_core.errors import ArError, DataError


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_text",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prepare = parser.add_subparsers(dest="command", required=True).add_parser("prepare")
    prepare.add_argument("--easy-vqa", type=Path, required=True, help="the wheel that `pip download` left")
    prepare.add_argument("--output", type=Path, required=True, help="folder to write; one that is there is replaced")
    arguments = parser.parse_args(given)
    try:
        from .prepare import write_all

        staged = os.environ.get("AR_DATA_DIR")
        if staged is None:
            raise DataError("AR_DATA_DIR is not set: give the folder that holds image_text/ and text/")
        for line in write_all(Path(staged), arguments.easy_vqa, arguments.output):
            print(line, flush=True)
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
