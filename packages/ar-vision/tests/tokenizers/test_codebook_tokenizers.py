"""What holds for every tokenizer with a codebook."""

import pytest
import torch
import torch.nn.functional as F
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer

SCALES = ScaleSchedule.square(1, 2, 3, 4)


@pytest.fixture(params=["var_vqvae", "vq"])
def tokenizer(request, tiny_autoencoder, generator):
    if request.param == "var_vqvae":
        made = VarTokenizer(VarTokenizerConfig(tiny_autoencoder, vocab_size=40))
    else:
        made = VqTokenizer(VqTokenizerConfig(tiny_autoencoder, vocab_size=40, code_dim=5))
    made.initialize(generator)
    return made


def test_autocast_does_not_reach_the_quantiser(tokenizer, generator):
    images = torch.rand(3, 3, 16, 16, generator=generator) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        features = tokenizer.encode(images)
        output = tokenizer.train_forward(images, SCALES)
        inside = tokenizer.quantize(features, SCALES)
        history = teacher_inputs(tokenizer.history(3, SCALES), inside)
    assert features.dtype == torch.bfloat16
    assert (output.code_loss.dtype, output.commit_loss.dtype) == (torch.float32, torch.float32)
    for codes, trained, outside in zip(inside, output.codes, tokenizer.quantize(features, SCALES)):
        assert torch.equal(codes, trained)
        assert torch.equal(codes, outside)
    for fed, outside in zip(history, teacher_inputs(tokenizer.history(3, SCALES), inside)):
        assert torch.equal(fed, outside)


def test_a_few_steps_from_scratch_bring_images_back(tokenizer, generator):
    images = F.interpolate(torch.rand(4, 3, 4, 4, generator=generator) * 2 - 1, scale_factor=4, mode="bilinear")
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=3e-3)
    errors = []
    for _ in range(60):
        output = tokenizer.train_forward(images, SCALES)
        error = F.mse_loss(output.reconstruction, images)
        optimizer.zero_grad()
        (error + (output.code_loss + 0.25 * output.commit_loss) / 4).backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
