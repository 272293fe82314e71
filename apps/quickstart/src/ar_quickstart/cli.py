"""Command line of the application."""


def main() -> None:
    """Print the version."""
    from . import __version__

    print(__version__)
