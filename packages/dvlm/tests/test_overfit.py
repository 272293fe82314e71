"""Eight samples learnt by heart come back from the decoder."""

import torch
from ar_core.corruption import SampleRng
from ar_core.decoding import StopRule
from ar_core.hf import ModelConfig
from ar_core.hf.model_config import LlamaScratch
from dvlm.build import build_vision_language
from dvlm.chat.config import ChatConfig
from dvlm.chat.conversation import turns_of
from dvlm.chat.encode import ChatEncoder
from dvlm.data.shapes import shape_picture, shape_record
from dvlm.decoding.backbone import VisionBackbone
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig, generate
from dvlm.diffusionvl.objective import MASKED, DiffusionVLObjective
from dvlm.images.config import ImageConfig
from dvlm.model_config import VisionLanguageConfig
from dvlm.prompt import encode_prompt
from dvlm.towers import ScratchTower, TowerConfig

BLOCK = 4


def test_eight_samples_are_learnt_by_heart():
    """Oracle 22: D = 4, four passes a block, 300 steps, images and text alone."""
    model, tokenizer = build_vision_language(
        VisionLanguageConfig(
            language=ModelConfig(
                scratch=LlamaScratch(
                    hidden=64, layers=2, heads=4, kv_heads=2, intermediate=128, context=256, init_std=0.125
                )
            ),
            tower=TowerConfig(scratch=ScratchTower(side=32, patch=16, hidden=32, layers=1, heads=2)),
        )
    )
    encoder = ChatEncoder(tokenizer, ChatConfig(system=None))
    processor = model.processor(ImageConfig(fit="stretch"))
    mask_id = tokenizer.get_vocab()["<mask>"]
    objective = DiffusionVLObjective(
        DiffusionVLConfig(diffusion_block_size=BLOCK, mask_id=None, mask_token="<mask>"), mask_id, encoder.eos_id
    )
    records = [shape_record(number) for number in range(8)]
    turns = [turns_of(record["conversations"], "here") for record in records]
    samples = []
    for number, record in enumerate(records):
        encoded = encoder.conversation(turns[number], supervise_template=False)
        images = [processor(shape_picture(number))] if "image" in record else []
        samples.append({"index": number, "tokens": encoded.ids, "labels": encoded.labels, "images": images})
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(300):
        batch = [{**sample, "index": 8 * step + sample["index"]} for sample in samples]
        prepared = objective.prepare(batch, SampleRng(0))
        optimizer.zero_grad()
        (objective.sums({"model": model}, prepared)[MASKED] / 8).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    pictures = [[shape_picture(number)] if "image" in record else [] for number, record in enumerate(records)]
    prompts = [encode_prompt(said[:1], shown, encoder, processor) for said, shown in zip(turns, pictures)]
    seen = VisionBackbone(model, prompts)
    settings = DiffusionVLDecodeConfig(mask_id=mask_id, diffusion_block_size=BLOCK, steps=BLOCK)
    decoded = generate(seen, seen.ids, settings, stop=StopRule(frozenset({encoder.eos_id}), 40))
    assert decoded.finish == ["stop_id"] * 8
    assert [tokenizer.decode(tokens) for tokens in decoded.tokens] == [said[1].text for said in turns]
