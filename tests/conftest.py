"""Every test is a small script of a user, which runs in a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

MODULE_DIRECTORY = Path(__file__).parent.parent


class Script:
    """Writes scripts to a directory, and runs them there or elsewhere."""

    def __init__(self, directory):
        self.directory = directory

    def write(self, source, name="script.py"):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != source:  # it may be read right now
            path.write_text(source)
        return path

    def start(
        self, source, *args, name="script.py", python=(sys.executable,), **options
    ):
        """Start a script that goes on while the test does; see subprocess.Popen."""
        options = {"cwd": self.directory, "text": True, **options}
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        command = [*python, str(self.write(source, name)), *args]
        return subprocess.Popen(command, **options)

    def run(self, source, *args, timeout=120, check=True, **options):
        """Run a script to its end; return what it printed to stdout."""
        process = self.start(source, *args, **options)
        stdout, stderr = process.communicate(timeout=timeout)
        if check and process.returncode:
            pytest.fail(
                f"the script ended with {process.returncode}\n{stdout}\n{stderr}"
            )
        return stdout


@pytest.fixture
def script(tmp_path):
    return Script(tmp_path)


@pytest.fixture(autouse=True)
def module_can_be_imported(monkeypatch):
    """By the scripts, if it is tested in its source tree without being installed."""
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(MODULE_DIRECTORY), path]))
    )


def wait_for(condition, seconds=30):
    """Wait until a condition holds; return what it returned, or fail after a while."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} seconds in vain"
        time.sleep(0.01)
    return value


def processes_of(marker, file="cmdline"):
    """The numbers of all processes, but zombies, with a text in a file in /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / file).read_bytes()  # empty for a zombie
        except OSError:
            continue  # it has ended meanwhile
        if str(marker).encode() in text and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found
