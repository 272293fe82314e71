"""Honest measurements of images: of samples, of reconstructions, and the protocol under which samples are drawn."""
