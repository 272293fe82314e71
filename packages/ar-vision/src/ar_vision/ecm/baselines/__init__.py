"""What ECM is held against, on the same data, control maps, steps and decoder: LoRA, full fine-tuning, and CAR."""
