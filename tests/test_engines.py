"""More than one computer: real engines, and many scripts at work in one directory.

The recipes are the README's: what it says to write is written to files, and what it
says to type is run by a shell. Each test has a directory of its own, in which
everything runs, as on a file system that all computers share. To measure the overhead
of Dask: ENGINE_TASKS=1000 python -m pytest -s tests/test_engines.py -k overhead
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from conftest import MODULE_DIRECTORY, processes_of, wait_for

from runforrest import TaskList

NUMBERS = range(20)  # which schedule.py of the README schedules


def need(*names):
    """Skip a test if a module or a command is missing; fail if all have to be there."""
    for name in names:  # without importing engines, which start threads
        if not (importlib.util.find_spec(name) or shutil.which(name)):
            (pytest.fail if "CI" in os.environ else pytest.skip)(f"this needs {name}")


def recipe(title):
    """The files to write and the lines to type, below a heading of the README."""
    readme = (MODULE_DIRECTORY / "README.md").read_text()
    sections = re.split("^##+ ", readme, flags=re.MULTILINE)
    found = (section for section in sections if section.startswith(title))
    section = min(found, default="")  # "Dask", and not "Dask on ..."
    blocks = re.findall("(?ms)^```(python|sh)\n(.*?)^```$", section)
    scripts = [block for language, block in blocks if language == "python"]
    files = {re.match(r"# (\S+\.py)\n", script)[1]: script for script in scripts}
    typed = "".join(block for language, block in blocks if language == "sh")
    lines = [line for line in typed.splitlines() if line and line[0] != "#"]
    assert files or lines, f"the README has no recipe for {title}"
    return files, lines


class Site:
    """A directory that all computers see, and the processes that are started in it."""

    def __init__(self, directory):
        self.directory, self.children = directory, []
        path = filter(None, [str(MODULE_DIRECTORY), os.environ.get("PYTHONPATH")])
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path),
            "HOME": str(directory),
            "TMPDIR": str(directory),
            # MPI wants to be told that it may do this.
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
        }
        self.shell = {"cwd": directory, "env": self.environment, "shell": True}

    def follow(self, title):
        """Write the files of a recipe; return its lines."""
        files, lines = recipe(title)
        for name, text in files.items():
            (self.directory / name).write_text(text)
        return lines

    def start(self, line):
        """Start a line of shell, which writes to a file, so that it never waits."""
        with (self.directory / "output").open("a") as output:
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            options = streams | self.shell | {"start_new_session": True}
            process = subprocess.Popen(line, **options)
        self.children.append(process)
        return process

    def run(self, line, check=True):
        """Run a line of shell to its end; return what it wrote to stdout."""
        options = {"stdin": subprocess.DEVNULL, "timeout": 120, **self.shell}
        result = subprocess.run(line, capture_output=True, text=True, **options)
        if check and result.returncode:
            pytest.fail(f"{line} ended with {result.returncode}\n{result.stderr}")
        return result.stdout

    def python(self, source):
        (self.directory / "script.py").write_text(source)
        return self.run("python script.py")

    def schedule(self, numbers, held=()):
        """Schedule tasks that keep a journal; some wait until the gate is open."""
        self.python(f"{JOURNAL}schedule({numbers}, held={held})")

    def close(self):
        """Kill all processes, and those that they start meanwhile."""

        def kill_all():
            for process in (found := self.processes()):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return not found

        wait_for(kill_all)
        for process in self.children:
            process.wait()

    def processes(self):
        """The numbers of all processes that were started from here."""
        return processes_of(f"HOME={self.directory}\0", "environ")

    # What has become of the tasks

    def counts(self):
        states = "todo", "done", "fail"
        return [len(list(self.directory.glob(f"tasklist/{s}/*.pkl"))) for s in states]

    def results(self):
        tasklist = TaskList(self.directory / "tasklist", noschedule_if_exist=True)
        return [(task.metadata, task.returnvalue) for task in tasklist.done_tasks()]

    def journal(self, event):
        """The numbers in all lines of the journal that begin with a word."""
        with suppress(FileNotFoundError):
            lines = (self.directory / "journal").read_text().splitlines()
            rows = [line.split() for line in lines if line.startswith(event)]
            return [[int(word) for word in words] for _, *words in rows]
        return []

    def times(self, event):
        """How often each task noted its "start", or its "end"."""
        return Counter(number for number, *_ in self.journal(event))

    def assert_each_ended_once(self, numbers):
        assert self.times("end") == Counter(numbers)
        assert self.counts() == [0, len(numbers), 0]

    def kill_worker_of(self, *numbers):
        """Wait for these tasks to run, kill what runs one of them; return which."""
        wait_for(lambda: set(numbers) <= set(self.times("start")))
        starts = self.journal("start")
        killed, task, worker = next(row for row in starts if row[0] in numbers)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: task not in self.processes())
        return killed

    def open_gate(self):
        (self.directory / "gate").touch()


@pytest.fixture
def site(tmp_path):
    with closing(Site(tmp_path)) as site:
        yield site


JOURNAL = """
import os, time
from runforrest import TaskList, defer

HERE = os.getcwd()

def note(*words):
    with open(f"{HERE}/journal", "a") as journal:
        print(*words, file=journal)

def record(number, held):
    note("start", number, os.getpid(), os.getppid())
    while held and not os.path.exists(f"{HERE}/gate"):
        time.sleep(0.01)
    note("end", number)
    return number

def schedule(numbers, held=()):
    tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
    for number in numbers:
        tasklist.schedule(defer(record, number, number in held), metadata=number)
"""


# Engines, each with the line of shell that runs the tasks on it -----------------------


@pytest.fixture(scope="module")
def dask_computers(tmp_path_factory):
    """A scheduler and two workers of Dask, which take their time to start."""
    need("distributed")
    _, (scheduler, worker) = recipe("Dask")
    with closing(Site(tmp_path_factory.mktemp("dask"))) as computers:
        connection = computers.directory / "scheduler.json"
        computers.start(scheduler)
        wait_for(lambda: connection.exists() and connection.read_text())
        computers.start(worker)
        computers.start(worker)
        yield connection


@pytest.fixture
def dask(dask_computers, site):
    (site.directory / "scheduler.json").symlink_to(dask_computers)
    site.follow("Dask")
    return "exec python on_dask.py"


@pytest.fixture
def mpi(site):
    need("mpi4py", "mpiexec")
    (mpiexec,) = site.follow("MPI")
    return mpiexec


@pytest.fixture
def pool(site):
    (site.directory / "on_pool.py").write_text("""
from concurrent.futures import ProcessPoolExecutor
from runforrest import TaskList

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        tasklist = TaskList("tasklist", noschedule_if_exist=True)
        for task in tasklist.run(executor=executor):
            print(task.metadata, task.returnvalue)
""")
    return "python on_pool.py"


@pytest.fixture
def ipyparallel(site):
    need("ipyparallel")
    (cluster,) = site.follow("ipyparallel")
    profile = site.directory / ".ipython/profile_default"
    profile.mkdir(parents=True)
    settings = "c = get_config()\nc.HeartMonitor.period = 300  # ms, instead of 3000\n"
    (profile / "ipcontroller_config.py").write_text(settings)
    site.start(cluster)
    wait_for((profile / "security/ipcontroller-client.json").exists)
    return "python on_ipyparallel.py"


@pytest.fixture
def gnu_parallel(site):
    need("parallel")
    return "\n".join(site.follow("GNU parallel"))


@pytest.mark.parametrize("engine", ["dask", "mpi", "pool", "gnu_parallel"])
def test_the_recipe_runs_every_task_once(engine, site, request):
    """Those of the README, and others that keep a journal."""
    line = request.getfixturevalue(engine)
    site.follow("More than one computer")
    site.run("python schedule.py")
    journaled = range(100, 180 if engine == "dask" else 130)
    site.schedule(journaled)
    output = site.run(line)
    assert site.times("end") == Counter(journaled)
    assert site.counts() == [0, len(NUMBERS) + len(journaled), 0]
    values = [(number, number**2) for number in NUMBERS]
    values += [(number, number) for number in journaled]
    assert site.results() == values
    if engine != "gnu_parallel":  # which has no script that could print them
        told = [tuple(map(int, row.split())) for row in output.splitlines()]
        assert sorted(told) == values


@pytest.mark.parametrize("engine, told", [("mpi", ""), ("pool", "BrokenProcessPool")])
def test_an_engine_that_ends_with_its_worker_loses_no_task_and_repeats_none(
    engine, told, site, request
):
    line = request.getfixturevalue(engine)
    site.schedule(range(20), held=(8, 9))
    job = site.start(line)
    site.kill_worker_of(8, 9)
    assert job.wait(60) != 0
    assert told in (site.directory / "output").read_text()
    site.open_gate()
    site.run(line)
    site.assert_each_ended_once(range(20))


@pytest.mark.parametrize("engine", ["dask", "ipyparallel"])
def test_an_engine_that_outlives_its_worker_loses_no_task_and_repeats_none(
    engine, site, request
):
    line = request.getfixturevalue(engine)
    site.schedule(range(30), held=(8, 9))
    script = site.start(line)
    killed = site.kill_worker_of(8, 9)
    if engine == "dask":  # which has another worker for it, as it starts that again
        wait_for(lambda: site.times("start")[killed] == 2)
    site.open_gate()
    assert script.wait(60) == 0
    site.assert_each_ended_once(range(30))
    assert site.times("start") == Counter([*range(30), killed])


def test_a_task_that_takes_its_time_to_die_with_its_dask_worker_is_run_by_another(
    dask, site
):
    """The kernel has its memory to free first, while it holds the task's file."""
    site.python(f"""
{JOURNAL}
def record_with_much_memory(number, held):
    memory = b"x" * (1 << 30)
    return record(number, held)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(record_with_much_memory, 0, True), metadata=0)
""")
    script = site.start(f"{dask} > results")
    site.kill_worker_of(0)
    site.open_gate()
    assert script.wait(60) == 0
    assert (site.directory / "results").read_text() == "0 0\n"


def test_a_script_that_is_killed_leaves_to_the_next_what_dask_does_not_run(dask, site):
    site.schedule(range(20), held=range(20))
    script = site.start(dask)
    wait_for(lambda: len(site.times("start")) == 2)
    script.kill()
    script.wait()
    site.open_gate()
    assert site.start(dask).wait(60) == 0
    wait_for(lambda: site.counts()[0] == 0)
    site.assert_each_ended_once(range(20))


def test_a_task_that_fails_or_is_killed_harms_no_dask_worker(dask, site):
    site.python("""
import os, time
from dask.distributed import Client
from runforrest import TaskList, defer

client = Client(scheduler_file="scheduler.json")
client.wait_for_workers(2)
before = set(client.scheduler_info(n_workers=-1)["workers"])
tasklist = TaskList("tasklist")
tasklist.schedule(defer(divmod, 1, 0), metadata="ZeroDivisionError")
tasklist.schedule(defer(os._exit, 3), metadata="CalledProcessError")
tasklist.schedule(defer(os.kill, defer(os.getpid), 11), metadata="CalledProcessError")
tasklist.schedule(defer(time.sleep, 1000), metadata="TimeoutExpired")
for task in tasklist.run(executor=client.get_executor(pure=False), autokill=1):
    assert type(task.errorvalue).__name__ == task.metadata
assert set(client.scheduler_info(n_workers=-1)["workers"]) == before
""")
    assert site.counts() == [0, 0, 4]


@pytest.mark.skipif("ENGINE_TASKS" not in os.environ, reason="it takes its time")
def test_the_overhead_of_dask_is_small(dask, site):
    count = int(os.environ["ENGINE_TASKS"])
    times = site.python(f"""{JOURNAL}
from dask.distributed import Client

client = Client(scheduler_file="scheduler.json")
client.wait_for_workers(2)
for engine in dict(executor=client.get_executor(pure=False)), dict(nprocesses=2):
    schedule(range({count}))
    run = TaskList("tasklist", noschedule_if_exist=True).run(**engine)
    started = time.monotonic()
    assert len(list(run)) == {count}
    print((time.monotonic() - started) / {count})
""")
    with_dask, with_threads = map(float, times.split())
    print(f"\n{with_dask:.4f} s a task on Dask, {with_threads:.4f} s on threads")
    assert site.times("end") == Counter([*range(count)] * 2)
    assert with_dask <= 1.3 * with_threads


EXECUTORS = {
    "Client(scheduler_file='scheduler.json').get_executor(pure=False)": "distributed",
    "ProcessPoolExecutor(2, get_context('fork'))": "concurrent.futures",
    "ThreadPoolExecutor(2)": "concurrent.futures",
}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_leaving_the_loop_cancels_what_has_not_started_and_keeps_the_executor(
    executor, site, request
):
    if "Client" in executor:
        request.getfixturevalue("dask")
    site.schedule(range(50), held=range(1, 50))
    left = site.python(f"""
from multiprocessing import get_context
from {EXECUTORS[executor]} import *
from runforrest import TaskList

executor, tasklist = {executor}, TaskList("tasklist", noschedule_if_exist=True)
for task in tasklist.run(executor=executor):
    break
open("gate", "w").close()  # what runs can end now
assert executor.submit(abs, -1).result() == 1
print(len(list(tasklist.todo_tasks())))
for task in tasklist.run(executor=executor):
    assert task.errorvalue is None
assert executor.submit(abs, -1).result() == 1
""")
    assert int(left) >= 40  # but those that ran, and those an engine had sent ahead
    wait_for(lambda: site.counts()[0] == 0)
    site.assert_each_ended_once(range(50))


# Many scripts -------------------------------------------------------------------------


@pytest.fixture
def computer(site):
    """The line that runs a script which sees only its own processes, as number 1."""
    need("unshare", *["root"] * (os.geteuid() != 0))
    site.follow("Arrays of jobs")
    namespaces = "--mount --pid --fork --kill-child --mount-proc"
    return f"exec unshare {namespaces} python work.py"


def test_scripts_on_many_computers_run_every_task_once(computer, site):
    with (site.directory / "work.py").open("a") as script:
        script.write("print('process', os.getpid())\n")
    site.schedule(range(100), held=[50])
    scripts = [site.start(computer) for _ in range(4)]
    wait_for(lambda: site.times("start")[50])
    site.open_gate()
    assert [script.wait(60) for script in scripts] == [0] * 4
    assert site.times("start") == Counter(range(100))
    site.assert_each_ended_once(range(100))
    output = (site.directory / "output").read_text().splitlines()
    assert output.count("process 1") == 4
    assert len(output) == 104  # each outcome came to one of them


def test_a_computer_that_is_lost_leaves_its_tasks_to_the_next(computer, site):
    site.schedule(range(30), held=(0, 1))
    lost = site.start(computer)
    wait_for(lambda: len(site.times("start")) == 2)
    assert site.start(computer).wait(60) == 0
    assert site.counts()[0] == 2
    lost.kill()
    lost.wait()
    wait_for(lambda: not processes_of(site.directory))
    site.open_gate()
    wait_for(lambda: site.run("python work.py") and site.counts()[0] == 0)
    site.assert_each_ended_once(range(30))


def test_gnu_parallel_files_failures_and_keeps_what_was_killed(gnu_parallel, site):
    site.python("""
import os
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(divmod, 1, 0))
tasklist.schedule(defer(os.kill, defer(os.getpid), 9))
tasklist.schedule(defer(abs, -1))
""")
    (site.directory / "computers").write_text(":\n")  # which is how it calls this one
    options = "--sshloginfile computers --workdir ."
    site.run(gnu_parallel.replace("parallel", f"parallel {options}"), check=False)
    assert site.counts() == [1, 1, 1]
    tasklist = TaskList(site.directory / "tasklist", noschedule_if_exist=True)
    assert [task.returnvalue for task in tasklist.done_tasks()] == [1]
    (task,) = tasklist.fail_tasks()
    assert type(task.errorvalue) is ZeroDivisionError
