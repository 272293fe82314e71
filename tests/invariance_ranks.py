"""Two processes that train one objective after another together; what `test_invariance.py` starts, once for all of them.

A process of its own imports everything and then forks, so that two ranks cost the imports of one.
"""

import datetime
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def main(request: str) -> None:
    """Run every job of a request as the two ranks of one group, and note which failed.

    Args:
        request: JSON file with the folders ``home`` and ``out``, and ``jobs``: name of the tiny run, of the variant, overrides,
            and whether Lightning drives it.
    """
    asked = json.loads(Path(request).read_text())
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    # FSDP2 imports the last at its first use.
    for name in ("ar_core.training.lightning_task", "ar_core.training.shards", "torch._dynamo"):
        importlib.import_module(name)

    import benchmarks.tiny_runs

    rank = 1 if os.fork() == 0 else 0
    # What torchrun sets, by which Lightning knows that it need not start the other processes.
    named = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    os.environ |= {name: str(value) for name, value in named.items()} | {"TORCHELASTIC_RUN_ID": "tests"}
    store = f"file://{asked['out']}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=120))
    for job in asked["jobs"]:
        folder = Path(asked["out"]) / job["variant"] / job["name"]
        try:
            _run(benchmarks.tiny_runs, Path(asked["home"]), folder, job)
        except Exception as error:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"error-{rank}.txt").write_text(f"{type(error).__name__}: {error}")
    dist.destroy_process_group()
    if rank:
        os._exit(0)
    os.wait()


def _run(tiny: Any, home: Path, folder: Path, job: dict[str, Any]) -> None:
    from ar_core.training import build_job, train
    from ar_core.training.lightning_task import fit

    config = tiny.run_config(job["name"], home, folder, job["overrides"])
    built = build_job(tiny.tiny_runs()[job["name"]].record, config)
    if job["lightning"]:
        fit(built, config.train, strategy="ddp", devices=2)
    else:
        train(built, config.train)


if __name__ == "__main__":
    main(sys.argv[1])
