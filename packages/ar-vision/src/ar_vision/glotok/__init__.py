"""GloTok: a dual-codebook tokenizer whose semantic codes relate to each other as a teacher's features do (arXiv 2511.14184).

This file imports no torch.
"""
