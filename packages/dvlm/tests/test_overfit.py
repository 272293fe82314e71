"""Eight samples learnt by heart come back, by the plainest decoder there can be."""

import torch
from ar_core.block_diffusion import block_grid
from ar_core.corruption import SampleRng
from ar_core.hf import ModelConfig
from ar_core.hf.model_config import LlamaScratch
from ar_core.masks import Mask, Tokens, block_causal
from dvlm.build import build_vision_language
from dvlm.chat.config import ChatConfig
from dvlm.chat.conversation import turns_of
from dvlm.chat.encode import ChatEncoder
from dvlm.data.shapes import shape_picture, shape_record
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.objective import MASKED, DiffusionVLObjective
from dvlm.images.config import ImageConfig
from dvlm.inputs import expand
from dvlm.model_config import VisionLanguageConfig
from dvlm.towers import ScratchTower, TowerConfig

BLOCK = 4


@torch.no_grad()
def answer(model, prompt, images, mask_id: int, eos_id: int) -> list[int]:
    """Static unmasking, D passes a block, everything computed anew in each."""
    expanded = expand(prompt, None, [image.layout for image in images])
    ids, rows = expanded.ids.tolist(), expanded.image_rows.tolist()
    features = (
        model.image_features(torch.cat([image.pixels for image in images]), [i.layout for i in images])
        if images
        else None
    )
    start = len(ids)
    while eos_id not in ids[start:] and len(ids) < start + 40:
        fill = BLOCK - len(ids) % BLOCK
        masked = list(range(len(ids), len(ids) + fill))
        ids, rows = ids + [mask_id] * fill, rows + [-1] * fill
        places = torch.arange(len(ids))
        mask = Mask.self_attention(block_causal(), Tokens(block=block_grid(len(ids), BLOCK).blocks, position=places))
        while masked:
            embeds, more = model.embed(torch.tensor([ids]), torch.tensor([rows]), features)
            hidden = model.backbone.hidden(None, embeds=embeds, positions=places[None], mask=mask, more=more)
            logits = model.backbone.head(hidden[0, masked])
            logits[:, mask_id] = -torch.inf
            confidence, token = logits.softmax(-1).max(-1)
            best = int(confidence.argmax())
            ids[masked.pop(best)] = int(token[best])
    said = ids[start:]
    return said[: said.index(eos_id)] if eos_id in said else said


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
    for sample, said in zip(samples, turns):
        found = answer(model, encoder.prompt(said[:1]), sample["images"], mask_id, encoder.eos_id)
        assert tokenizer.decode(found) == said[1].text
