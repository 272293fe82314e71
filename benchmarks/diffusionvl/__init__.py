"""DiffusionVL by both routes beside an autoregressive control and one without pictures, from one language model, at one budget."""
