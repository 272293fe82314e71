"""Every lossless decoder against AR greedy and Hugging Face's own speculation. See ``python -m benchmarks.lossless --help``."""
