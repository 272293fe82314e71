"""Distilled Decoding on small models of images: students of one pass beside their teachers and the best factorised model."""
