"""More than one computer: real engines, and many scripts at work in one directory.

The recipes are those of the README: what it says to write is written to files, and
what it says to type is run by a shell. Each test has a directory of its own, in which
everything runs, as on a file system that all computers share.

To measure the overhead of Dask with many tasks, and print it:

    ENGINE_TASKS=1000 python -m pytest -s tests/test_engines.py -k overhead
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import MODULE_DIRECTORY, processes_of, wait_for

from runforrest import TaskList

ENGINE_TASKS = int(os.environ.get("ENGINE_TASKS", 0))
NUMBERS = range(20)  # which schedule.py of the README schedules


def need(condition, reason):
    """Skip a test that is impossible here, unless everything has to be possible."""
    if not condition:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def need_module(name):
    # Without importing it, as the engines start threads, and take their time.
    need(importlib.util.find_spec(name), f"this needs the Python module {name}")


def need_command(name):
    need(shutil.which(name), f"this needs the command {name}")


# What the README says -----------------------------------------------------------------


def recipe(title):
    """The files to write and the lines to type, below a heading of the README."""
    readme = (MODULE_DIRECTORY / "README.md").read_text()
    text = readme.partition(f"# {title}\n")[2]
    files, lines = {}, []
    for language, block in re.findall(
        r"^```(\w*)\n(.*?)^```$", re.split(r"^##", text, flags=re.M)[0], re.M | re.S
    ):
        if language == "python":
            files[re.match(r"# (\S+\.py)\n", block)[1]] = block
        else:
            lines += block.splitlines()
    assert files or lines, f"the README has no recipe for {title}"
    return files, lines


class Site:
    """A directory that all computers see, and the processes that are started in it."""

    def __init__(self, directory):
        self.directory = directory
        self.children = []
        path = MODULE_DIRECTORY, os.environ.get("PYTHONPATH")
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(part) for part in path if part),
            "HOME": str(directory),
            "TMPDIR": str(directory),
            # MPI wants to be told that it may do this.
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
        }

    def write(self, files):
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def start(self, line):
        """Start a line of shell, which writes to a file, so that it never waits."""
        with (self.directory / "output").open("a") as output:
            process = subprocess.Popen(
                line,
                shell=True,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.children.append(process)
        return process

    def run(self, line, check=True):
        """Run a line of shell to its end; return what it wrote to stdout."""
        result = subprocess.run(
            line,
            shell=True,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check and result.returncode:
            pytest.fail(f"{line} ended with {result.returncode}\n{result.stderr}")
        return result.stdout

    def python(self, source, name="script.py", check=True):
        self.write({name: source})
        return self.run(f"python {name}", check)

    def close(self):
        """Kill all processes, and those that they start meanwhile."""

        def all_are_gone():
            processes = self.processes()
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return not processes

        wait_for(all_are_gone)
        for process in self.children:
            process.wait()

    def processes(self):
        """The numbers of all processes, but zombies, that were started from here."""
        found, home = [], f"HOME={self.directory}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            try:
                variables = (path / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended meanwhile, or is somebody else's
            if home in variables:
                found.append(int(path.name))
        return found

    # What has become of the tasks

    def count(self, state):
        return len(list((self.directory / "tasklist" / state).glob("*.pkl")))

    def results(self):
        tasklist = TaskList(self.directory / "tasklist", noschedule_if_exist=True)
        return [(task.metadata, task.returnvalue) for task in tasklist.done_tasks()]

    def journal(self, event):
        """The words of all lines of the journal that begin with this one."""
        path = self.directory / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1:] for line in lines if line.split()[0] == event]

    def ended(self):
        """How often each task wrote that it was about to end."""
        return Counter(int(number) for number, *_ in self.journal("end"))

    def started(self):
        """How often each task was started, which an engine may do again."""
        return Counter(int(number) for number, *_ in self.journal("start"))

    def kill_worker_of(self, *numbers):
        """Wait for these tasks to run, kill what runs one of them; return which."""
        wait_for(lambda: set(numbers) <= set(self.started()))
        starts = [[int(word) for word in row] for row in self.journal("start")]
        killed, task, worker = next(row for row in starts if row[0] in numbers)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: task not in self.processes())
        return killed

    def open_gate(self):
        (self.directory / "gate").touch()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


JOURNAL = """
import os
import time

from runforrest import TaskList, defer

HERE = os.getcwd()

def note(*words):
    journal = os.open(f"{HERE}/journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, (" ".join(map(str, words)) + "\\n").encode())
    os.close(journal)

def record(number, held):
    note("start", number, os.getpid(), os.getppid())
    while held and not os.path.exists(f"{HERE}/gate"):
        time.sleep(0.01)
    note("end", number)
    return number

def schedule(numbers, held=lambda number: False):
    tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
    for number in numbers:
        tasklist.schedule(defer(record, number, held(number)), metadata=number)
"""


def check_recipe(site, line, journaled=range(100, 130), printed=True):
    """Run the README's tasks, and others that keep a journal, as the README says."""
    site.write(recipe("More than one computer")[0])
    site.run("python schedule.py")
    site.python(JOURNAL + f"schedule({journaled})")
    output = site.run(line)
    assert site.ended() == Counter(journaled)
    count = len(NUMBERS) + len(journaled)
    assert [site.count(state) for state in ("todo", "done", "fail")] == [0, count, 0]
    values = [(number, number**2) for number in NUMBERS]
    values += [(number, number) for number in journaled]
    assert site.results() == values
    if printed:
        told = [tuple(map(int, row.split())) for row in output.splitlines()]
        assert sorted(told) == values


# Dask ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dask_computers(tmp_path_factory):
    """A scheduler and two workers of Dask, which take their time to start."""
    need_module("distributed")
    computers = Site(tmp_path_factory.mktemp("dask"))
    _, (scheduler, worker) = recipe("Dask")
    connection = computers.directory / "scheduler.json"
    try:
        computers.start(scheduler)
        wait_for(lambda: connection.exists() and connection.read_text())
        computers.start(worker)
        computers.start(worker)
        yield connection
    finally:
        computers.close()


@pytest.fixture
def dask(dask_computers, site):
    """A directory of one's own, from which they are reached."""
    (site.directory / "scheduler.json").symlink_to(dask_computers)
    site.write(recipe("Dask")[0])
    return site


def test_the_recipe_for_dask_runs_every_one_of_a_hundred_tasks_once(dask):
    check_recipe(dask, "python on_dask.py", journaled=range(100, 180))


def test_a_dask_worker_that_is_killed_loses_no_task_and_repeats_none(dask):
    dask.python(JOURNAL + "schedule(range(20), held=lambda number: number in (8, 9))")
    script = dask.start("python on_dask.py")
    killed = dask.kill_worker_of(8, 9)
    wait_for(lambda: dask.started()[killed] == 2)
    dask.open_gate()
    assert script.wait(60) == 0
    assert dask.ended() == Counter(range(20))
    assert dask.started() == Counter([*range(20), killed])
    assert [dask.count(state) for state in ("todo", "done", "fail")] == [0, 20, 0]


def test_a_task_that_takes_its_time_to_die_with_its_dask_worker_is_run_by_another(dask):
    """The kernel has its memory to free first, while it holds the task's file."""
    dask.python(f"""
{JOURNAL}
def record_with_much_memory(number, held):
    memory = b"x" * (1 << 30)
    return record(number, held)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(record_with_much_memory, 0, True), metadata=0)
""")
    script = dask.start("exec python on_dask.py > results")
    dask.kill_worker_of(0)
    dask.open_gate()
    assert script.wait(60) == 0
    assert (dask.directory / "results").read_text() == "0 0\n"


def test_a_script_that_is_killed_leaves_to_the_next_what_dask_does_not_run(dask):
    dask.python(JOURNAL + "schedule(range(20), held=lambda number: True)")
    script = dask.start("exec python on_dask.py")
    wait_for(lambda: len(dask.started()) == 2)
    script.kill()
    script.wait()
    script = dask.start("exec python on_dask.py")
    dask.open_gate()
    assert script.wait(60) == 0
    wait_for(lambda: not dask.count("todo"))
    assert dask.ended() == Counter(range(20))
    assert dask.count("done") == 20


def test_a_task_that_fails_or_is_killed_harms_no_dask_worker(dask):
    outcomes = dask.python("""
import os, time
from dask.distributed import Client
from runforrest import TaskList, defer

client = Client(scheduler_file="scheduler.json")
client.wait_for_workers(2)
before = set(client.scheduler_info(n_workers=-1)["workers"])
tasklist = TaskList("tasklist")
tasklist.schedule(defer(divmod, 1, 0), metadata="raise")
tasklist.schedule(defer(os._exit, 3), metadata="exit")
tasklist.schedule(defer(os.kill, defer(os.getpid), 11), metadata="crash")
tasklist.schedule(defer(time.sleep, 1000), metadata="sleep")
for task in tasklist.run(executor=client.get_executor(pure=False), autokill=1):
    print(task.metadata, type(task.errorvalue).__name__)
assert set(client.scheduler_info(n_workers=-1)["workers"]) == before
""")
    assert sorted(outcomes.splitlines()) == [
        "crash CalledProcessError",
        "exit CalledProcessError",
        "raise ZeroDivisionError",
        "sleep TimeoutExpired",
    ]


@pytest.mark.skipif(not ENGINE_TASKS, reason="ENGINE_TASKS says with how many tasks")
def test_the_overhead_of_dask_is_small(dask):
    times = dask.python(f"""
{JOURNAL}
from dask.distributed import Client

client = Client(scheduler_file="scheduler.json")
client.wait_for_workers(2)
executor = client.get_executor(pure=False)
for engine in dict(executor=executor), dict(nprocesses=2):
    schedule(range({ENGINE_TASKS}))
    tasklist = TaskList("tasklist", noschedule_if_exist=True)
    started = time.monotonic()
    assert len(list(tasklist.run(**engine))) == {ENGINE_TASKS}
    print((time.monotonic() - started) / {ENGINE_TASKS})
""")
    with_dask, with_threads = map(float, times.split())
    print(
        f"\n{ENGINE_TASKS} tasks with two workers of Dask: {with_dask * 1e3:.1f} ms a"
        f" task, with two local threads: {with_threads * 1e3:.1f} ms, a ratio of"
        f" {with_dask / with_threads:.2f}"
    )
    assert dask.ended() == Counter([*range(ENGINE_TASKS)] * 2)
    assert with_dask <= 1.3 * with_threads


# Other engines ------------------------------------------------------------------------


def test_the_recipe_for_mpi_runs_every_task_once(site):
    need_module("mpi4py")
    need_command("mpiexec")
    files, (mpiexec,) = recipe("MPI")
    site.write(files)
    check_recipe(site, mpiexec)


def test_a_process_of_mpi_that_is_killed_loses_no_task_and_repeats_none(site):
    need_module("mpi4py")
    need_command("mpiexec")
    files, (mpiexec,) = recipe("MPI")
    site.write(files)
    site.python(JOURNAL + "schedule(range(20), held=lambda number: number in (8, 9))")
    job = site.start(mpiexec)
    site.kill_worker_of(8, 9)
    assert job.wait(60) != 0
    site.open_gate()
    site.run(mpiexec)
    assert site.ended() == Counter(range(20))
    assert [site.count(state) for state in ("todo", "done", "fail")] == [0, 20, 0]


def test_the_recipe_for_ipyparallel_runs_every_task_once_if_an_engine_is_killed(site):
    need_module("ipyparallel")
    files, (cluster,) = recipe("ipyparallel")
    site.write(files)
    profile = site.directory / ".ipython/profile_default"
    profile.mkdir(parents=True)
    settings = "c = get_config()\nc.HeartMonitor.period = 300  # ms, instead of 3000\n"
    (profile / "ipcontroller_config.py").write_text(settings)
    site.start(cluster)
    wait_for((profile / "security/ipcontroller-client.json").exists)
    site.python(JOURNAL + "schedule(range(30), held=lambda number: number in (8, 9))")
    script = site.start("python on_ipyparallel.py")
    site.kill_worker_of(8, 9)
    site.open_gate()
    assert script.wait(60) == 0
    assert site.ended() == Counter(range(30))
    assert [site.count(state) for state in ("todo", "done", "fail")] == [0, 30, 0]


POOL = """
from concurrent.futures import ProcessPoolExecutor

from runforrest import TaskList

if __name__ == "__main__":
    tasklist = TaskList("tasklist", noschedule_if_exist=True)
    with ProcessPoolExecutor(2) as executor:
        for task in tasklist.run(executor=executor):
            print(task.metadata, task.returnvalue)
"""


def test_a_pool_of_processes_runs_every_task_once(site):
    site.write({"on_pool.py": POOL})
    check_recipe(site, "python on_pool.py")


def test_a_pool_of_processes_that_breaks_loses_no_task_and_repeats_none(site):
    site.write({"on_pool.py": POOL})
    site.python(JOURNAL + "schedule(range(20), held=lambda number: number in (8, 9))")
    script = site.start("python on_pool.py")
    site.kill_worker_of(8, 9)
    assert script.wait(60) != 0
    assert "BrokenProcessPool" in (site.directory / "output").read_text()
    site.open_gate()
    site.run("python on_pool.py")
    assert site.ended() == Counter(range(20))
    assert [site.count(state) for state in ("todo", "done", "fail")] == [0, 20, 0]


# The executor is the user's -----------------------------------------------------------

EXECUTORS = {
    "dask": """
from dask.distributed import Client
executor = Client(scheduler_file="scheduler.json").get_executor(pure=False)
""",
    "processes": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
executor = ProcessPoolExecutor(2, get_context("fork"))
""",
    "threads": """
from concurrent.futures import ThreadPoolExecutor
executor = ThreadPoolExecutor(2)
""",
}


@pytest.mark.parametrize("engine", EXECUTORS)
def test_leaving_the_loop_cancels_what_has_not_started_and_keeps_the_executor(
    engine, site, request
):
    if engine == "dask":
        request.getfixturevalue("dask")
    site.python(JOURNAL + "schedule(range(50), held=lambda number: number > 0)")
    left = site.python(f"""{EXECUTORS[engine]}
from runforrest import TaskList

tasklist = TaskList("tasklist", noschedule_if_exist=True)
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
    wait_for(lambda: not site.count("todo"))
    assert site.ended() == Counter(range(50))
    assert site.count("done") == 50


# Many scripts -------------------------------------------------------------------------


def test_scripts_on_many_computers_run_every_task_once(site):
    """The scripts see only their own processes, and all have the same number."""
    need(os.geteuid() == 0, "this needs root, for namespaces")
    need_command("unshare")
    files, _ = recipe("Arrays of jobs, and many scripts")
    site.write(files)
    site.write({"work.py": files["work.py"] + "print('process', os.getpid())\n"})
    site.python(JOURNAL + "schedule(range(100), held=lambda number: number == 50)")
    computer = "exec unshare --mount --pid --fork --kill-child --mount-proc"
    scripts = [site.start(f"{computer} python work.py") for _ in range(4)]
    wait_for(lambda: site.started()[50])
    site.open_gate()
    assert [script.wait(60) for script in scripts] == [0] * 4
    assert site.ended() == Counter(range(100))
    assert site.started() == Counter(range(100))
    output = (site.directory / "output").read_text().splitlines()
    assert output.count("process 1") == 4
    assert len(output) == 104  # each outcome came to one of them
    assert site.count("done") == 100


def test_a_computer_that_is_lost_leaves_its_tasks_to_the_next(site):
    need(os.geteuid() == 0, "this needs root, for namespaces")
    need_command("unshare")
    site.write(recipe("Arrays of jobs, and many scripts")[0])
    site.python(JOURNAL + "schedule(range(30), held=lambda number: number in (0, 1))")
    computer = "exec unshare --mount --pid --fork --kill-child --mount-proc"
    lost = site.start(f"{computer} python work.py")
    wait_for(lambda: len(site.started()) == 2)
    other = site.start(f"{computer} python work.py")
    assert other.wait(60) == 0
    assert site.count("todo") == 2
    lost.kill()
    lost.wait()
    wait_for(lambda: not processes_of(site.directory))
    site.open_gate()
    wait_for(lambda: site.run("python work.py") and not site.count("todo"))
    assert site.ended() == Counter(range(30))
    assert [site.count(state) for state in ("todo", "done", "fail")] == [0, 30, 0]


def test_the_recipe_for_gnu_parallel_runs_every_task_once(site):
    need_command("parallel")
    _, lines = recipe("GNU parallel, and no script at all")
    check_recipe(site, "\n".join(lines), printed=False)


def test_the_recipe_for_gnu_parallel_files_failures_and_keeps_what_was_killed(site):
    need_command("parallel")
    _, lines = recipe("GNU parallel, and no script at all")
    site.python("""
import os
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(divmod, 1, 0))
tasklist.schedule(defer(os.kill, defer(os.getpid), 9))
tasklist.schedule(defer(abs, -1))
""")
    site.write({"computers": ":\n"})  # which is how it calls this one
    options = "--sshloginfile computers --workdir ."
    site.run("\n".join(lines).replace("parallel", f"parallel {options}"), check=False)
    assert [site.count(state) for state in ("todo", "done", "fail")] == [1, 1, 1]
    tasklist = TaskList(site.directory / "tasklist", noschedule_if_exist=True)
    assert [task.returnvalue for task in tasklist.done_tasks()] == [1]
    (task,) = tasklist.fail_tasks()
    assert type(task.errorvalue) is ZeroDivisionError
