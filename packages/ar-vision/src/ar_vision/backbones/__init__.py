"""Image backbones: VAR, FlexVAR, LlamaGen and Infinity."""
