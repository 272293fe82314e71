"""How passes run and weights are stored: the same tokens, said in every record, refused where it cannot be."""

import json
import subprocess
import sys

import torch


def test_engines_give_the_same_text(ar_decode, plain_model, tmp_path):
    told = {}
    for engine in ("plain", "eager"):
        file = tmp_path / f"{engine}.json"
        found = ar_decode(
            "text", plain_model, "Once", "-m", "lookup", "-n", 20, "--engine", engine, "--statistics", file
        )
        assert found.code == 0
        told[engine] = (found.out, json.loads(file.read_text())["nfe"])
    assert told["plain"] == told["eager"]


def test_int8_weights(ar_decode, plain_model, tmp_path, monkeypatch):
    from ar_decode.session import load_session
    from torch import nn

    full, session = load_session(str(plain_model)), load_session(str(plain_model), weights="int8")
    assert session.runs_as == {"dtype": "float32", "engine": "plain", "weights": "int8"}
    layers = [module for module in session.backbone.model.modules() if isinstance(module, nn.Linear)]
    stored = [type(layer.weight).__name__ for layer in layers]
    assert stored.count("Int8Tensor") == len(stored) - 1
    assert type(session.backbone.projection.weight) is nn.Parameter
    for ours, before in zip(
        layers, (m for m in full.backbone.model.modules() if isinstance(m, nn.Linear)), strict=True
    ):
        error = (
            ours.weight.dequantize() if type(ours.weight).__name__ == "Int8Tensor" else ours.weight
        ) - before.weight
        # Half a step of 1/127 of the channel's largest weight.
        assert (error.abs() <= before.weight.abs().amax(1, keepdim=True) / 127 * 0.51).all()
    assert ar_decode("text", plain_model, "Once", "-n", 5, "--weights", "int8").code == 0


def test_packed_weights(ar_decode, refused, plain_model):
    from ar_core.hf import PackedLinear
    from ar_decode.session import load_session
    from torch import nn

    for dtype, weights in (("bfloat16", "packed"), ("float32", "packed"), ("bfloat16", "full")):
        session = load_session(str(plain_model), dtype=dtype, weights=weights)
        assert session.runs_as == {"dtype": dtype, "engine": "plain", "weights": weights}
        kinds = [type(module) for module in session.backbone.model.modules()]
        assert (PackedLinear in kinds, nn.Linear in kinds) == (weights == "packed", weights == "full")
    ask = ("text", plain_model, "Once", "-n", 12, "--dtype", "float32", "--weights")
    assert ar_decode(*ask, "packed").out == ar_decode(*ask, "full").out
    refused(
        "text",
        plain_model,
        "Once",
        "--dtype",
        "float64",
        "--weights",
        "packed",
        says="Weights in float64 on cpu cannot",
    )


def test_what_cannot_be_is_refused(refused, ar_decode, plain_model, tmp_path, monkeypatch):
    ask = ("text", plain_model, "Once", "-n", 2)
    refused(*ask, "--engine", "warp", says=("'warp'", "choose plain, graph, compile, eager"))
    refused(*ask, "--engine", "graph", says="needs a CUDA device and the model is on cpu; choose compile")
    refused(*ask, "--weights", "int4", says="give one of full, packed, int8")
    path = tmp_path / "profile.json"
    assert ar_decode("tune", plain_model, "-o", path, "--rounds", 1, "--context", 16).code == 0
    refused(*ask, "-m", "lookup", "--profile", path, "--engine", "eager", says="made for the engine 'plain'")
    refused(*ask, "-m", "lookup", "--profile", path, "--weights", "int8", says="made for the weights 'full'")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(
        *ask, "--weights", "int8", says="int8 weights need torchao, which is not installed: pip install 'ar-core[int8]'"
    )


def test_threads(ar_decode, plain_model):
    before = torch.get_num_threads()
    try:
        assert ar_decode("text", plain_model, "Once", "-n", 2, "--threads", 3).code == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


FAULTS = """
import resource, sys
from ar_decode.session import load_session
from ar_core.decoding import StopRule, autoregressive
from ar_core.sampling import Sampler
import torch
torch.set_num_threads(1)
session = load_session(sys.argv[1])
for count in (6, 40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        cache = session.backbone.new_cache(32, 256)
        cache.window(256)
        ids = torch.zeros(32, 256, dtype=torch.int64)
        with torch.no_grad():
            hidden = session.backbone.hidden(ids, positions=cache.query_positions(), mask=None, cache=cache)
            session.backbone.head(hidden).softmax(-1).argmax(-1)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def test_passes_on_a_cpu_find_the_memory_of_those_before(plain_model):
    run = subprocess.run([sys.executable, "-c", FAULTS, str(plain_model)], capture_output=True, text=True, check=True)
    # Some 950 pages a pass if what a pass frees is not kept.
    assert int(run.stdout) < 40 * 200
