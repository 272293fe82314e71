"""CCA, Condition Contrastive Alignment (arXiv 2410.09347): conditional samples as if guided, without guidance. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["LOG_PROBS", "RECIPE"]

RECIPE = Recipe(
    name="cca",
    summary="CCA: fine-tune a VAR, FlexVAR or LlamaGen on pairs of classes so that it needs no guidance",
    package="ar_vision.cca.recipes",
    run_config="ar_vision.cca.train:CcaRun",
    build="ar_vision.cca.train:build",
)

LOG_PROBS = Recipe(
    name="cca_log_probs",
    summary="Log-probabilities of a CCA run's pairs under the model it starts from, once for all its settings",
    package="ar_vision.cca.log_probs.recipes",
    run_config="ar_vision.cca.log_probs.stage:CcaLogProbsRun",
    build="ar_vision.cca.log_probs.stage:build",
    makes="data",
)
