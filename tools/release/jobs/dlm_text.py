"""The tiny job of dlm-text: two steps of a conversion, and what was saved decodes."""

from ar_core.decoding import StopRule
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig, generate

method = recipe("fast_dllm_v2")
settings = ["train.steps=2", "train.warmup_steps=1", "train.checkpoint_dir=run", "evaluation.rows=2", "data.count=50"]
run_recipe(method, read_run_config(method, "tiny", settings))
loaded = load_causal_lm("run/final")
config = FastDLLMv2DecodeConfig(**FastDLLMv2DecodeConfig.of_checkpoint(loaded.model.config, loaded.tokenizer))
decoded = generate(HFBackbone(loaded.model), [[5, 6, 7]], config, stop=StopRule(frozenset(), 16))
assert len(decoded.tokens[0]) == 16
print(f"16 tokens in {decoded.stats.forwards.total()} passes")
