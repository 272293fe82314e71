"""Errors that a user can cause.

Every one is a single sentence that says what was given, what is allowed and what to do. Command lines print it without a
traceback and exit with code 2.
"""

__all__ = [
    "ArError",
    "BackendError",
    "CacheError",
    "CheckpointError",
    "ClusterError",
    "ConfigError",
    "DataError",
    "MaskError",
    "MissingPackageError",
    "NumericsError",
    "PlanError",
    "ResumeError",
    "UnsupportedModelError",
]


LONGEST = 2000
"""Characters of a message; a file of many faulty keys must not fill a terminal."""


class ArError(Exception):
    """Base of all errors caused by input rather than by a defect of the software.

    Its text is one line that can be printed: control characters, which names in hostile files may have, are escaped, and what is
    longer than 2,000 characters is shortened in its middle.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 + 5 :]}"
        return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class ConfigError(ArError, ValueError):
    """A setting has an unknown name, a wrong type, a value out of range, or contradicts another."""


class CheckpointError(ArError):
    """A checkpoint is missing, truncated, of another architecture, or has missing, unexpected or misshapen keys."""


class ResumeError(CheckpointError):
    """A run cannot be continued from what lies in its checkpoint directory."""


class DataError(ArError, ValueError):
    """A prompt, a line of a file or a sample cannot be used."""


class UnsupportedModelError(ArError):
    """A model has layers or attention arguments that masks and the windowed cache cannot express."""


class MaskError(ArError, ValueError):
    """A mask needs ids that its tokens lack, or its shape does not fit the tensors."""


class BackendError(ArError):
    """An attention backend was asked for that is absent or cannot compute what was asked."""


class CacheError(ArError):
    """A pass does not fit the window of the KV cache, or would write gradients into it."""


class NumericsError(ArError, ArithmeticError):
    """A loss or gradient is not finite."""


class PlanError(ArError):
    """What a run will take cannot be computed before it runs."""


class MissingPackageError(ArError, ImportError):
    """An optional package is needed and not installed."""


class ClusterError(ArError):
    """A cluster cannot be reached, lacks what the work needs, or loses worker after worker."""
