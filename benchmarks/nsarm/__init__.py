"""NSARM from small photographs: bicubic, stage 1, both stages, and the tokenizer that bounds them."""
