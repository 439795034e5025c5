"""The example is the main job of this library, on real input."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent / "example.py"


def test_the_example_tells_what_it_found_and_what_failed_and_why(tmp_path):
    process = subprocess.run(
        [sys.executable, EXAMPLE, "20", tmp_path / "tasks"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=True,
    )
    words = " ".join(process.stdout.split())
    assert " 20 done 3 failed " in f" {words}"
    assert "1 CalledProcessError: died with <Signals.SIGSEGV: 11>." in words
    assert "1 TimeoutExpired: timed out after 5 seconds" in words
    assert (
        "1 FileNotFoundError: [Errno 2] No such file or directory: 'gone.py'" in words
    )
    assert "functions, of which" in words
    assert "23/23" in process.stderr or "23 tasks" in process.stdout
    found = {path.name: len(list(path.iterdir())) for path in tmp_path.glob("tasks/*")}
    assert found == {"todo": 0, "done": 20, "fail": 3}


def test_the_example_leaves_nothing_behind(tmp_path):
    process = subprocess.run(
        [sys.executable, EXAMPLE, "1"],
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": str(EXAMPLE.parent.parent)},
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
        check=True,
    )
    assert b"1 done" in process.stdout
    assert not list(tmp_path.iterdir())
