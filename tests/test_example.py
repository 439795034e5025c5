"""The example is the main job of this library, on real input."""

import importlib.util
import subprocess
import sys
from pathlib import Path


def run_example(directory, *args):
    command = [sys.executable, Path(__file__).with_name("example.py"), *args]
    options = {"capture_output": True, "text": True, "cwd": directory, "timeout": 120}
    return subprocess.run(command, check=True, **options)


def test_the_example_tells_what_it_found_and_what_failed_and_why(tmp_path):
    process = run_example(tmp_path, "20", tmp_path / "tasks")
    words = " ".join(["", *process.stdout.split()])
    assert " 20 done 3 failed " in words
    assert "1 CalledProcessError: died with <Signals.SIGSEGV: 11>." in words
    assert "1 TimeoutExpired: timed out after 5 seconds" in words
    assert (
        "1 FileNotFoundError: [Errno 2] No such file or directory: 'gone.py'" in words
    )
    assert "functions, of which" in words
    assert "23/23" in process.stderr or not importlib.util.find_spec("tqdm")
    found = {path.name: len(list(path.iterdir())) for path in tmp_path.glob("tasks/*")}
    assert found == {"todo": 0, "done": 20, "fail": 3}


def test_the_example_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "1 done" in run_example(tmp_path, "1").stdout
    assert not list(tmp_path.iterdir())
