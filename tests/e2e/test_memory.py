"""Memory of a long training: it stays where it is after the first epochs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean

import pytest

from tests.e2e.conftest import ENVIRONMENT

EPOCHS = 50


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_is_flat_over_fifty_epochs(train_arguments, tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "multibox", *train_arguments]
    command += ["--save-checkpoints-to", str(tmp_path), "--epochs", str(EPOCHS)]
    log = tmp_path / "metrics.jsonl"
    by_epoch: dict[int, int] = {}
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            epoch = len(log.read_text().splitlines()) if log.exists() else 0
            status = Path(f"/proc/{run.pid}/status").read_text()
            if resident := re.search(r"VmRSS:\s+(\d+) kB", status):
                by_epoch[epoch] = int(resident[1])
            time.sleep(0.02)
    assert run.returncode == 0
    early = mean(kilobytes for epoch, kilobytes in by_epoch.items() if 5 <= epoch <= 15)
    late = mean(kilobytes for epoch, kilobytes in by_epoch.items() if epoch > EPOCHS - 10)
    # An allocator grows in steps: here two of some 5 MB, the last at about epoch 45 of 150. A leak would be more than
    # half a MB an epoch.
    assert late < 1.04 * early
