import subprocess
import sys

import pytest

PAGES_PER_STEP = 4 * 2**23 // 4096
FAULTS = """
import resource
import torch
from ar_core.allocator import keep_freed_memory
assert keep_freed_memory()
def step():
    tensors = [torch.ones(2**21) for _ in range(4)]
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20 * PAGES_PER_STEP / 10
