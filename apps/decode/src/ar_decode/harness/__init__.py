"""Our decoders as a model of lm-eval, the evaluation harness (extra ``eval``). Imports nothing.

``python -m ar_decode.harness`` is lm-eval's own command line with the model ``ar_decode`` known to it.
"""
