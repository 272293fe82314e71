"""The tiny job of dvlm: two steps of a conversion, and what was saved answers a question about a picture."""

import subprocess
import sys
from pathlib import Path

from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from PIL import Image

method = recipe("diffusionvl")
settings = ["train.steps=2", "train.warmup_steps=1", "train.checkpoint_dir=run", "evaluation.rows=2", "data.count=40"]
run_recipe(method, read_run_config(method, "tiny", settings))
Image.new("RGB", (40, 24), "red").save("red.png")
command = [
    Path(sys.executable).with_name("ar-decode"),
    "vlm",
    "model=run/final",
    "image=red.png",
    "prompt=What is this?",
]
subprocess.run([*command, "max_new_tokens=8"], check=True, stdout=subprocess.DEVNULL)
print("trained, saved and asked")
