import shutil

import pytest
from ar_core.decoding import DecodeStats
from ar_decode.replay import Pass, Replay, Scene
from ar_quickstart import shipped
from ar_quickstart.methods_act import LiveAnswer, MethodsAct
from dlm_text.efficient_dlm.checkpoint import Conversion, save_checkpoint
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint
from dlm_text.tasks import held_out


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of shipped models in which every method finds one: stand-ins made of the two oldest."""
    folder = tmp_path / "weights"
    for name in ("ar", "fast_dllm_v2"):
        shutil.copytree(shipped.WEIGHTS / name, folder / name)
    shutil.copytree(folder / "ar", folder / "jacobi_forcing")
    fast = load_checkpoint(folder / "fast_dllm_v2")
    conversion = Conversion(fast.mask_id, fast.diffusion_block_size)
    save_checkpoint(fast.model, folder / "efficient_dlm", conversion, tokenizer=fast.tokenizer)
    monkeypatch.setattr(shipped, "WEIGHTS", folder)
    return folder


@pytest.fixture
def methods():
    """Two methods on one problem; the second model of DiffuSpec is not there."""
    (problem,) = held_out("mixed", 1)

    def answer(right, tokens, forwards, **more):
        stats = DecodeStats(generated=[tokens])
        stats.forwards.update(step=forwards)
        stats.row_forwards.update(step=forwards)
        stats.seconds.update(step=1)
        return LiveAnswer(problem, right, stats, **more)

    scene = Scene("one", "a<b?\n", (Replay("AR", ("2",), (Pass("step", (0,), (0.9,)),)),))
    answers = {
        "AR": (answer(True, 40, 40),),
        "Efficient-DLM": (answer(False, 40, 10),),
        "Jacobi Forcing": (answer(True, 40, 20, drafter_forwards=7, lossless=True),),
    }
    return MethodsAct(answers, {"DiffuSpec": ("fast_dllm_v2",)}, (scene,))
