"""The converters that the package announces, one a kind of model. Imports no torch."""

from ar_core.registry import Converter

__all__ = [
    "BSQ",
    "DUAL_VQ",
    "FLEXVAR",
    "INFINITY",
    "LLAMAGEN",
    "LLAMAGEN_DD",
    "NSARM",
    "VAR",
    "VAR_DD",
    "VAR_VQVAE",
    "VQ",
]


def _converter(kind: str, published: str) -> Converter:
    return Converter(name=kind, summary=f"Published weights of {published}", convert="ar_vision.convert:convert")


VAR_VQVAE = _converter("var_vqvae", "VAR's multi-scale tokenizer (vae_ch160v4096z32.pth)")
VQ = _converter("vq", "the LlamaGen and FlexVAR tokenizers (vq_ds16_c2i.pt, FlexVAE.pth)")
BSQ = _converter("bsq", "Infinity's bitwise tokenizers (infinity_vae_d32reg.pth)")
DUAL_VQ = _converter("dual_vq", "FQGAN's tokenizers with two codebooks (fqgan_dual_ds16.pt)")
VAR = _converter("var", "VAR (var_d16.pth to var_d36.pth, training checkpoints)")
FLEXVAR = _converter("flexvar", "FlexVAR and SAR (FlexVARd16-epo179.pth)")
LLAMAGEN = _converter("llamagen", "LlamaGen, class- and text-conditional (c2i_B_256.pt, t2i_XL_stage1_256.pt)")
INFINITY = _converter("infinity", "Infinity (infinity_2b_reg.pth, shards of the 8B)")
NSARM = _converter("nsarm", "NSARM, its parts joined (NSARM.pth)")
VAR_DD = _converter("var_dd", "Distilled Decoding's students of VAR (VAR-DD/var-d16.pth)")
LLAMAGEN_DD = _converter("llamagen_dd", "Distilled Decoding's students of LlamaGen (LlamaGen-DD/llamagen-B.pt)")
