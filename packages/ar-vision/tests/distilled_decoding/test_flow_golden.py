"""The map against trajectories and endpoints that were solved in float64 with tolerances of 1e-10."""

import json

import pytest
import torch
from ar_kernels import flow_velocity
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.flow.flow_map import flow_map
from safetensors import safe_open

CASES = ("v8c2", "v32c8_topk6", "v32c8_unit", "v64c4_peaky")


@pytest.fixture(scope="module")
def case(golden_dir):
    path = golden_dir / "vision_a" / "dd_flow_map.safetensors"
    with safe_open(path, "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        agreement = {name: one["euler_agreement"] for name, one in json.loads(file.metadata()["cases"]).items()}
    return lambda name: (
        {key.removeprefix(f"{name}."): one for key, one in stored.items() if key.startswith(f"{name}.")}
        | {"agreement": agreement.get(name)}
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda dtype: str(dtype)[6:])
def test_endpoints(case, name, dtype):
    one = case(name)
    found = flow_map(one["eps"].to(dtype), one["prob"].log().to(dtype), one["codebook"].to(dtype))
    assert torch.equal(found.codes, one["index"].long())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [1, 4, 10, 50, 200])
def test_euler_is_wrong_where_the_recorded_one_is(case, name, steps):
    one = case(name)
    found = flow_map(one["eps"], one["prob"].log(), one["codebook"], FlowSolver("euler", steps)).codes
    assert torch.equal(found, one[f"euler{steps}_idx"].long())
    share = float((found == one["index"]).double().mean())
    assert share == pytest.approx(one["agreement"][str(steps)])


@pytest.mark.parametrize("name", CASES)
def test_velocities(case, name):
    one = case(name)
    codebook, log_probs = one["codebook"], one["prob"].log()
    torch.testing.assert_close(flow_velocity(one["x_rand"], one["s_rand"], log_probs, codebook), one["v_rand"])
    for number, s in enumerate(one["s_grid"].tolist()):
        found = flow_velocity(one["traj"][:, number], s, log_probs, codebook)
        torch.testing.assert_close(found, one["traj_vel"][:, number], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("closed_forms", [True, False], ids=["closed form", "solver"])
def test_one_dimension(case, closed_forms):
    one = case("oned")
    log_probs = one["prob"].log().expand(len(one["eps"]), -1)
    solver = FlowSolver(closed_forms=closed_forms, tolerance=1e-8)
    assert torch.equal(flow_map(one["eps"], log_probs, one["codebook"], solver).codes, one["index"].long())
