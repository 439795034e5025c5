"""Most tests are small scripts of a user, which run in a process of their own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from runforrest import TaskList

MODULE_DIRECTORY = Path(__file__).parent.parent
STATES = "todo", "done", "fail"


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

    def run_tasks(self, source, *tasks, run="", log="log", **options):
        """Schedule tasks in a script, and run them one by one; return what came out.

        tasks: expressions, in which the names of the script can be used
        run: more arguments of the run
        """
        return self.run(
            f"""
from runforrest import TaskList, defer
{source}
if __name__ == "__main__":
    tasklist = TaskList("tasklist", logfile={log!r})
    for task in [{", ".join(tasks)}]:
        tasklist.schedule(task)
    for task in tasklist.run(nprocesses=1, {run}):
        print(task.returnvalue, repr(task.errorvalue))
""",
            **options,
        )


@pytest.fixture
def script(tmp_path):
    return Script(tmp_path)


@pytest.fixture
def directory(tmp_path):
    """Of a task list."""
    return tmp_path / "tasklist"


@pytest.fixture
def tasklist(directory):
    return TaskList(directory, logfile=directory.with_name("log"))


@pytest.fixture(autouse=True)
def module_can_be_imported(monkeypatch):
    """By the scripts, if it is tested in its source tree without being installed."""
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(MODULE_DIRECTORY), path]))
    )


@pytest.fixture(params=["Linux", "macOS"])
def system(request, tmp_path, monkeypatch, module_can_be_imported):
    """Run a test twice: the second time without what only Linux has."""
    path = hide_linux(request.param, tmp_path / "system")
    monkeypatch.setenv("PYTHONPATH", f"{path}:{os.environ['PYTHONPATH']}")


def hide_linux(system, directory):
    """Write what hides it from all processes that have the directory in PYTHONPATH."""
    directory.mkdir(exist_ok=True)
    source = "import fcntl, os; del fcntl.F_SETSIG, os.pidfd_open"
    hidden = source if system == "macOS" else ""
    (directory / "sitecustomize.py").write_text(hidden)
    return str(directory)


@pytest.fixture
def nothing_stays(tmp_path):
    """Skip where processes can't be looked for; and end those that a test left."""
    need(sys.platform == "linux", "this finds processes in /proc, which needs Linux")
    yield
    wait_for(lambda: not kill_processes_of(tmp_path))


def need(condition, reason):
    """Skip a test that is impossible here, unless everything has to be possible."""
    if not condition:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def schedule(tasklist, *tasks):
    for task in tasks:
        tasklist.schedule(task)


def files_in(directory):
    """The paths of all files and directories, relative to the directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def contents(directory):
    """What is in all files, directories, links and pipes."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(directory)] = path.readlink()
        elif path.is_file():
            found[path.relative_to(directory)] = path.read_bytes()
        else:
            found[path.relative_to(directory)] = path.stat().st_mode
    return found


def counts(directory):
    """How many files are in todo, done and fail."""
    return [len(list((directory / state).glob("*"))) for state in STATES]


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


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


def kill_processes_of(marker):
    numbers = processes_of(marker)
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return numbers
