"""The tiny job of ar-quickstart: the first act on two problems, with the shipped models, and its report."""

import subprocess
import sys
from pathlib import Path

command = Path(sys.executable).with_name("ar-quickstart")
subprocess.run([command, "--fast", "--problems", "2", "--live-steps", "2"], check=True, stdout=subprocess.DEVNULL)
page = Path("report.html").read_text(encoding="utf-8")
assert "Fast-dLLM v2" in page
print(f"a report of {len(page)} characters")
