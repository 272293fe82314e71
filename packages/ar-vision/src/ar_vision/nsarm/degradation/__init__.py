"""Degradation of photographs as Real-ESRGAN has it (arXiv 2107.10833), a function of the sample. Imports no torch."""
