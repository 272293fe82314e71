"""DiffuSpec with drafters of our own making: passes, operations and wall clock. See ``python -m benchmarks.diffuspec --help``."""
