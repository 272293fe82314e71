"""lm-eval's command line, with the model ``ar_decode``.

python -m ar_decode.harness run --model ar_decode --model_args pretrained=./model,method=lookup --tasks gsm8k
"""

import sys

from ar_core.errors import ArError

from .register import register


def main() -> int:
    """Run lm-eval; our errors are one sentence and exit code 2."""
    try:
        register()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
