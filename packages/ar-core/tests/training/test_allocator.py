import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from ar_core.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    # 8 MiB each, above the threshold from which glibc asks the kernel for every block.
    tensors = [torch.ones(2**21) for _ in range(4)]
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_used_again_without_page_faults():
    faults = {
        mode: int(
            subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True).stdout
        )
        for mode in ("keep", "default")
    }
    assert faults["default"] > 20 * 4 * 1000
    assert faults["keep"] < faults["default"] / 10
