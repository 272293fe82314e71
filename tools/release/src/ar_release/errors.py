"""What a person can cause: one sentence each, printed without a traceback, exit code 2."""

__all__ = ["ReleaseError"]


class ReleaseError(Exception):
    """A package, a version, a changelog or a checkout that a release cannot be made of."""
