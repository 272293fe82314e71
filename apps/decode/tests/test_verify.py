"""``verify``: what it finds, what it allows, what it reports."""

import json

import pytest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_verify_passes_on_a_sound_model(ar_decode, chat_model, tmp_path, dtype):
    target = tmp_path / "report.json"
    outcome = ar_decode("verify", chat_model, "--dtype", dtype, "-n", 9, "-o", target)
    assert outcome.code == 0, outcome.err
    report = json.loads(target.read_text())
    assert report["passed"]
    assert len(report["checks"]) == 15
    assert report["dtype"] == dtype
    assert report["config"]["hidden_size"] == 32
    assert report["environment"]["versions"]["torch"]


def test_verify_prints_markdown_for_a_bug_tracker(ar_decode, plain_model):
    outcome = ar_decode("verify", plain_model, "-n", 5)
    assert outcome.code == 0
    assert outcome.out.startswith("## ar-decode verify: passed")
    assert "| cached = uncached | 0 | ok |" in outcome.out
    assert '"hidden_size": 32' in outcome.out


def test_verify_finds_a_cache_that_forgets(ar_decode, plain_model, monkeypatch):
    from ar_core.cache import WindowedKVCache

    update = WindowedKVCache.update

    def forgetful(cache, layer, k, v):
        keys, values = update(cache, layer, k, v)
        return keys, values.roll(1, 2)

    monkeypatch.setattr(WindowedKVCache, "update", forgetful)
    outcome = ar_decode("verify", plain_model, "-n", 5)
    assert outcome.code == 1
    assert outcome.out.startswith("## ar-decode verify: FAILED")
    assert "| cached = uncached | 0 | **differs** | max difference" in outcome.out


def test_verify_finds_a_block_decoder_that_differs(ar_decode, plain_model, monkeypatch):
    from ar_decode import verify

    decode = verify.decode_blocks

    def other(*arguments, **how):
        decoded = decode(*arguments, **how)
        decoded.tokens[0][-1] = (decoded.tokens[0][-1] + 1) % 256
        return decoded

    monkeypatch.setattr(verify, "decode_blocks", other)
    outcome = ar_decode("verify", plain_model, "-n", 5)
    assert outcome.code == 1
    for number in range(5):
        assert f"| cached = uncached | {number} | ok |" in outcome.out
        assert f"| block size 1 = AR | {number} | **differs** | step " in outcome.out
        assert f"| lookup = AR | {number} | ok | equal |" in outcome.out


@pytest.mark.parametrize(("dtype", "near"), [("float64", 0.0), ("float32", 1e-3), ("bfloat16", 2 * 2**-7 * 30)])
def test_a_near_tie_is_absolute_in_float32(dtype, near):
    from ar_decode.verify import _near_tie

    assert _near_tie(dtype, 30.0) == near


def test_verify_bans_the_mask_token_of_a_published_checkpoint(ar_decode, published_model, monkeypatch):
    """AR would emit it, and the block decoder may not."""
    from ar_core.hf import HFBackbone
    from ar_decode.session import load_session

    mask_id, head = load_session(str(published_model)).mask_id, HFBackbone.head

    def eager(backbone, hidden):
        logits = head(backbone, hidden)
        logits[..., mask_id] = logits.amax(-1) + 1
        return logits

    monkeypatch.setattr(HFBackbone, "head", eager)
    outcome = ar_decode("verify", published_model, "-n", 5)
    assert outcome.code == 0, outcome.out
