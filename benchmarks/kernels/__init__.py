"""Time and memory of the kernels against their references and the best other implementation."""
