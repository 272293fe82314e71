"""Image tokenizers: pixels to codes and back."""
