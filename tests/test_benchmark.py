"""The benchmark works; what it measures is not a test, as it depends on the machine."""

import subprocess
import sys
from pathlib import Path

from conftest import MODULE_DIRECTORY

SLOWER = """
schedule = TaskList.schedule
TaskList.schedule = lambda *args: time.sleep(0.1) or schedule(*args)
"""


def benchmark(*args):
    """Run the benchmark with tiny sizes; return its table, a list of cells a row."""
    command = [sys.executable, Path(__file__).with_name("benchmark.py"), "--quick"]
    done = subprocess.run(
        [*command, *args], text=True, capture_output=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    head, line, *rows = [row[2:-2].split(" | ") for row in table]
    assert head[:4] == ["what", "ours", "theirs", "ratio"]
    assert line == ["---"] * len(head)
    return rows


def test_each_line_is_measured_or_it_is_said_why_not():
    rows = benchmark()
    assert len(rows) == 18
    for what, ours, theirs, ratio in rows:
        assert theirs in ("", "not installed") or float(ratio) > 0, (what, theirs)
        number = ours.split()[0].replace(",", "")
        assert theirs == "not installed" or float(number) >= 0, (what, ours)
    assert [what for what, _, theirs, _ in rows if not theirs] == [
        "first result with 50 waiting",
        "memory for that, beyond an empty run",
    ]
    assert all(ratio for *_, ratio in [*rows[:4], rows[9], *rows[-4:]])  # need nothing


def test_another_version_of_the_module_is_measured_beside_it(tmp_path):
    """In the section that was chosen."""
    module = (MODULE_DIRECTORY / "runforrest.py").read_text()
    (tmp_path / "runforrest.py").write_text(module + SLOWER)
    python = tmp_path / "python"  # one that has no other
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o700)
    [(*_, cell)] = benchmark("--only", "schedule", "--baseline", python)
    milliseconds, _, ratio = cell.split()
    assert float(milliseconds) > 100
    assert 0 < float(ratio.strip("()")) < 0.5
