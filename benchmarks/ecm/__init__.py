"""ECM beside LoRA, full fine-tuning and its own ablations, from the same base, by the same number of steps."""
