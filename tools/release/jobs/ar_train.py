"""The tiny job of ar-train: two steps of a recipe that another package announces."""

import subprocess
import sys
from pathlib import Path

command = Path(sys.executable).with_name("ar-train")
assert "fast_dllm_v2/tiny" in subprocess.check_output([command, "ls"], text=True)
settings = ["train.steps=2", "train.warmup_steps=1", "train.checkpoint_dir=run", "evaluation.rows=2", "data.count=50"]
subprocess.run([command, "run", "fast_dllm_v2", "--config", "tiny", *settings], check=True, stdout=subprocess.DEVNULL)
weights = Path("run/final/model.safetensors")
print(f"two steps, {weights.stat().st_size} bytes of weights")
