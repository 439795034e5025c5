"""The benchmark works; what it measures is not a test, as it depends on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("benchmark.py")


def benchmark(*args):
    """Run the benchmark with tiny sizes; return its table, a list of cells a row."""
    command = [sys.executable, BENCHMARK, "--quick", *args]
    done = subprocess.run(command, text=True, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    head, line, *rows = [
        [cell.strip() for cell in row[1:-1].split("|")] for row in table
    ]
    assert head == ["what", "ours", "theirs", "ratio", "goal", "met"]
    assert all(set(cell) == {"-"} for cell in line)
    return rows


@pytest.mark.parametrize(
    ("section", "size", "goals"),
    [("cost", 12, 2), ("schedule", 6, 5), ("latency", 10, 6)],
)
def test_section_gives_all_its_rows(section, size, goals):
    rows = benchmark("--only", section)
    assert len(rows) == size
    assert all(float(ours.split()[0].replace(",", "")) > 0 for _, ours, *_ in rows)
    assert [met in ("yes", "NO") for *_, met in rows].count(True) == goals


def test_large_data_are_measured_where_numpy_is_installed():
    pytest.importorskip("numpy")
    rows = benchmark("--only", "large")
    assert len(rows) == 14
    assert all(float(ratio) > 0 for _, _, _, ratio, _, _ in rows)


def test_alternatives_are_compared_or_it_is_said_why_not():
    rows = {what: cells for what, *cells in benchmark("--only", "alternatives")}
    assert float(rows["concurrent.futures, spawn"][2]) > 0
    assert rows["RunForrest 0.4.3"][1:3] == ["not in a quick run", ""]
    for name in ("pebble, spawn", "submitit, local", "GNU parallel"):
        assert rows[name][1] == "not installed" or float(rows[name][2]) > 0


def test_times_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    benchmark("--only", "alternatives", "--plot", tmp_path / "times.png")
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_needs_times():
    command = [sys.executable, BENCHMARK, "--only", "cost", "--plot", "times.png"]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 2
    assert "add it to --only" in done.stderr
