"""From a valid input to a hostile one, a function of the generator alone."""

from .mutate import mutated

__all__ = ["mutated"]
