"""Distilled Decoding 1 (arXiv 2412.17153): one-step sampling of image AR models by flow matching. Imports no torch."""

from ar_core.registry import Command, Recipe

__all__ = ["PAIRS", "RECIPE", "VERIFY"]

_ROOM = "ar_vision.distilled_decoding"

RECIPE = Recipe(
    name="distilled_decoding",
    summary="Distilled Decoding: a student of VAR or LlamaGen that makes all codes from noise in one pass",
    package=f"{_ROOM}.recipes",
    run_config=f"{_ROOM}.train:DistilledDecodingRun",
    build=f"{_ROOM}.train:build",
)

PAIRS = Recipe(
    name="noise_code_pairs",
    summary="Pairs of noise and codes that a VAR's or LlamaGen's flow connects, for Distilled Decoding; no training data",
    package=f"{_ROOM}.pairs.recipes",
    run_config=f"{_ROOM}.pairs.stage:NoiseCodePairsRun",
    build=f"{_ROOM}.pairs.stage:build",
    makes="data",
)

VERIFY = Command(
    name="verify-pairs",
    summary="Make some pairs of noise and codes a second time and compare",
    run=f"{_ROOM}.pairs.verify:verify_pairs",
    options=f"{_ROOM}.pairs.verify:VerifyPairsConfig",
    examples=(
        "ar-decode verify-pairs pairs=./pairs teacher=./var tokenizer=./vae rows=64",
        "ar-decode verify-pairs pairs=./pairs teacher=./llamagen tokenizer=./vq rows=8 seed=1 --json",
    ),
    fields={
        "rows, codes": "pairs that were made again, and codes that were compared",
        "different, different_codes": "numbers of the pairs with another code, and how many codes differ",
        "same_device": "whether they were made on this kind of device; if so, none may differ",
    },
)
