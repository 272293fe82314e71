"""DiffuSpec (arXiv 2510.02358): a diffusion language model drafts, an autoregressive one verifies. Imports no torch."""

from ar_core.registry import Command, Decoder

__all__ = ["DECODER", "FIT_PROXY"]

DECODER = Decoder(
    name="diffuspec",
    summary="Lossless: paths through a diffusion model's lattice, verified in one pass; needs --set drafter=MODEL",
    decode="dlm_text.diffuspec.decode:generate",
    options="dlm_text.diffuspec.config:DiffuSpecConfig",
    lossless=True,
)

FIT_PROXY = Command(
    name="fit-proxy",
    summary="Fit the n-gram proxy of diffuspec on a JSONL of texts or token ids",
    run="dlm_text.diffuspec.fit_proxy:fit_proxy",
    options="dlm_text.diffuspec.fit_proxy:FitProxyConfig",
    examples=(
        "ar-decode fit-proxy corpus=train.jsonl.gz model=./model output=proxy.safetensors",
        "ar-decode fit-proxy corpus=gsm8k.jsonl model=./model output=p.safetensors fields=[question,answer] order=4",
        "ar-decode fit-proxy corpus=ids.jsonl vocab_size=152064 output=proxy.safetensors",
    ),
    fields={
        "output": "the file",
        "tokens, records": "how many were counted",
        "order, vocab_size": "of the n-grams, and V",
    },
)
