"""Tokenizers with a visual and a semantic codebook: FQGAN-dual and GloTok (arXiv 2411.16681, 2511.14184)."""
