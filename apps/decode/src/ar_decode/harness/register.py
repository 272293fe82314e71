"""Make the model known to lm-eval."""

from ar_core.errors import MissingPackageError

__all__ = ["NAME", "register"]

NAME = "ar_decode"
"""What `lm_eval --model` calls it."""


def register() -> None:
    """Register the model ``ar_decode``; calling it again changes nothing.

    Raises:
        MissingPackageError: lm-eval is not installed.
    """
    try:
        from lm_eval.api.registry import model_registry
    except ImportError as error:
        raise MissingPackageError(
            "the evaluation harness needs the package lm-eval; install it with `pip install 'ar-decode[eval]'`"
        ) from error
    if NAME not in model_registry:
        model_registry.register(NAME, target="ar_decode.harness.model:ArDecodeLM")
