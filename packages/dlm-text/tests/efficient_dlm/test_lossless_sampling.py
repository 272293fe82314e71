"""Self-speculation at a positive temperature: the joint distribution of three tokens is that of the autoregressive mode."""

import pytest
from ar_core.decoding import StopRule
from ar_core.sampling import Sampler
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig, generate

MASK, ROWS = 6, 4000


@pytest.mark.parametrize("draws", [pytest.param(200_000, marks=pytest.mark.slow), 20_000])
def test_the_joint_distribution_is_that_of_the_autoregressive_mode(renewal_model, compare_with_joint, draws):
    """Six ids and the mask token, which is never drawn."""
    model = renewal_model(MASK + 1, mask_id=MASK)
    config = EfficientDLMDecodeConfig(mask_id=MASK, mode="self_speculation", context="causal", diffusion_block_size=5)
    got = generate(
        model,
        [list(model.prompt)] * ROWS,
        config,
        stop=StopRule(frozenset(), 3 * draws // ROWS),
        sampler=Sampler(temperature=0.9, top_p=0.99),
        seed=30,
    )
    assert 0.05 < got.stats.accepted_at[1] / got.stats.drafted_at[1] < 0.95
    joint = model.joint(Sampler(temperature=0.9, top_p=0.99, banned_ids=(MASK,)))
    seen, p, variation = compare_with_joint(got.tokens, joint)
    assert seen == draws
    assert p > 1e-3
    assert variation <= (0.01 if draws == 200_000 else 0.02)
