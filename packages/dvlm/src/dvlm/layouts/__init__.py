"""Checkpoints of vision-language models in every layout that is published, and in ours; weights and configs alone, no code.

| layout | files | read | written |
|---|---|---|---|
| hub (a) | a transformers folder of Qwen2.5-VL or Qwen3-VL; converted models add the field `dvlm` to its config | yes | yes |
| converter (b) | `model`, `vision_tower` and `projector` safetensors, `vision_config.json` | yes | yes |
| published (c), hub release (d) | `model_type` diffusionvl_qwenvl, `model.vision_tower.vision_tower.*` | yes | yes |
| published route 2 (e) | `model_type` diffusionvl_qwen | yes | yes |
| stage-1 adapter | `mm_projector.bin` | yes | yes |
| assembled | ours, any language model and tower: `language/`, `tower/`, `connector.safetensors`, `dvlm.json` | yes | yes |
"""
