"""GloTok on CIFAR-10: what the histogram loss and the residual modules change, of the tokenizer and of a FAR on its codes."""
