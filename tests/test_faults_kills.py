"""Runners that are killed: nothing of them stays, nothing is lost or done twice."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import contents, counts, lines_of, processes_of, wait_for

from runforrest import TaskList, defer

pytestmark = pytest.mark.usefixtures("nothing_stays")


# Signals to one runner ----------------------------------------------------------------

WAITING_TASKS = """
import signal, subprocess, sys, time
from pathlib import Path
from runforrest import TaskList, defer

# A test that was started in the background of a shell has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def tell(name):
    Path(name).touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return name

def sleep(name): return tell(name)

def sleep_with_children(name):
    code = "import time; time.sleep(600)"
    children = [sys.executable, "-c", code, str(Path.cwd())]
    for _ in range(2):
        subprocess.Popen(children)
    return tell(name)

def ignore_signals(name):
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    return tell(name)

functions = sleep, sleep_with_children, ignore_signals, sleep, ignore_signals

if __name__ == "__main__":
    tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
    if sys.argv[1] == "schedule":
        for number, function in enumerate(functions):
            tasklist.schedule(defer(function, f"task{number}"))
    else:
        for task in tasklist.run(nprocesses=3):
            print(task.returnvalue, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_to_the_runner_ends_all_its_tasks_and_keeps_them(name, system, script):
    script.run(WAITING_TASKS, "schedule")
    before = contents(script.directory / "tasklist")
    runner = script.start(WAITING_TASKS, "run")
    begun = [script.directory / f"task{number}" for number in range(3)]
    wait_for(lambda: all(path.exists() for path in begun))
    assert len(processes_of(script.directory)) >= 5  # tasks and children
    runner.send_signal(signal.Signals[name])
    wait_for(lambda: not processes_of(script.directory), seconds=1)
    stdout, _ = runner.communicate(timeout=10)
    assert runner.returncode == -signal.Signals[name]
    assert stdout == ""
    assert contents(script.directory / "tasklist") == before

    (script.directory / "go").touch()
    printed = script.run(WAITING_TASKS, "run").split()
    assert sorted(printed) == [f"task{number}" for number in range(5)]
    assert counts(script.directory / "tasklist") == [0, 5, 0]
    assert not processes_of(script.directory)


@pytest.mark.parametrize("seconds", [0, 0.2, 1])
def test_a_runner_that_is_killed_while_it_computes_takes_its_tasks_along(
    seconds, script
):
    runner = script.start("""
import time
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for _ in range(3):
    tasklist.schedule(defer(time.sleep, 600))
for task in tasklist.run(nprocesses=3):
    print("computes", flush=True)
    sum(range(10**12))  # and no other thread can do anything
""")
    assert runner.stdout.readline() == "computes\n"
    time.sleep(seconds)  # any moment will do, as what is killed may be at any point
    runner.kill()
    runner.communicate()
    wait_for(lambda: not processes_of(script.directory), seconds=1)


CHILD_THAT_IS_LEFT = """
import subprocess, sys
from pathlib import Path
from runforrest import TaskList, defer

def leave_a_child():
    code = "import time; time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code, str(Path.cwd()), "left"])
    Path("begun").touch()
    while not Path("go").exists():
        pass

if __name__ == "__main__":
    tasklist = TaskList("tasklist")
    tasklist.schedule(defer(leave_a_child))
    for task in tasklist.run():
        print("yielded")
"""


def test_what_a_task_left_behind_ends_if_the_runner_is_killed_before_it_sees_it(script):
    runner = script.start(CHILD_THAT_IS_LEFT)
    wait_for((script.directory / "begun").exists)
    todo = script.directory / "tasklist" / "todo"
    runner.send_signal(signal.SIGSTOP)
    (script.directory / "go").touch()
    wait_for(lambda: not processes_of(todo))  # the task has ended
    runner.kill()
    wait_for(lambda: not processes_of(script.directory), seconds=1)
    assert runner.communicate(timeout=10)[0] == ""


# Killed between two steps of the end of a task ----------------------------------------


@pytest.fixture(params=["done", "fail"])
def ended(request, tasklist, directory, tmp_path):
    """Lays out the files of a task as if its runner had been killed at its end."""
    task = defer(os.mkdir if request.param == "done" else os.rmdir, tmp_path / "x")
    tasklist.schedule(task)
    (todo,) = (directory / "todo").iterdir()
    scheduled = todo.read_bytes()
    (task,) = tasklist.run()
    outcome = (directory / request.param / todo.name).read_bytes()
    (tmp_path / "x").mkdir(exist_ok=True)  # so that to run it again would end otherwise

    def lay_out(*names):
        (directory / request.param / todo.name).unlink()
        for name in names:
            if name == "todo":
                todo.write_bytes(scheduled)
            elif name == "outcome":
                Path(f"{todo}.{request.param}").write_bytes(outcome)
            else:
                (directory / name / todo.name).write_bytes(scheduled)
        return request.param, type(task.errorvalue)

    return lay_out


@pytest.mark.parametrize("stale", [[], ["fail"]], ids=["", "and a failure before"])
@pytest.mark.parametrize(
    "files", [["todo", "outcome"], ["outcome"]], ids=["kept", "removed"]
)
def test_what_had_ended_is_yielded_once_and_not_run_again(
    files, stale, ended, tasklist, directory
):
    state, error = ended(*files, *stale)
    log = directory.with_name("log")
    log.unlink()
    run = tasklist.run()
    assert len(run) == 1
    assert [type(task.errorvalue) for task in run] == [error]
    assert counts(directory) == [0, state == "done", state == "fail"]
    assert list(tasklist.run()) == []
    assert "start" not in log.read_text()


@pytest.mark.parametrize(
    "files", [["todo", "outcome"], ["outcome"]], ids=["kept", "removed"]
)
def test_two_runners_that_end_the_same_task_at_once_yield_it_once(
    files, ended, tasklist, directory, monkeypatch
):
    state, error = ended(*files)
    barrier, replace = threading.Barrier(2), os.replace

    def replace_at_once(*args):
        with suppress(threading.BrokenBarrierError):  # if the other has none to replace
            barrier.wait(1)
        replace(*args)

    monkeypatch.setattr(os, "replace", replace_at_once)
    runs = [tasklist.run(), tasklist.run()]
    with ThreadPoolExecutor(2) as pool:
        yielded = [task for tasks in pool.map(list, runs) for task in tasks]
    assert [type(task.errorvalue) for task in yielded] == [error]
    assert counts(directory) == [0, state == "done", state == "fail"]


# Many runners -------------------------------------------------------------------------

JOURNAL_TASKS = """
import os, sys, time
from pathlib import Path
from runforrest import TaskList, defer

def write(event, number):
    journal = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, f"{event} {number} {os.environ['RUNNER']}\\n".encode())
    os.close(journal)

def work(number):
    write("begin", number)
    while not Path("go").exists():
        time.sleep(0.01)
    write("end", number)
    return number

if __name__ == "__main__":
    tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
    if sys.argv[1] == "schedule":
        for number in range(12):
            tasklist.schedule(defer(work, number))
    else:
        os.environ["RUNNER"] = sys.argv[1]
        for task in tasklist.run(nprocesses=1):
            print(task.returnvalue, flush=True)
"""


def test_of_three_runners_one_is_killed_and_each_task_completes_once(script):
    script.run(JOURNAL_TASKS, "schedule")
    journal = script.directory / "journal"
    runners = {name: script.start(JOURNAL_TASKS, name) for name in ("a", "b", "c")}
    wait_for(lambda: len(lines_of(journal)) == 3)
    begun = {line.split()[2]: line.split()[1] for line in lines_of(journal)}
    assert set(begun) == {"a", "b", "c"}
    assert len(set(begun.values())) == 3

    killed = runners.pop("b")
    killed.kill()
    killed.wait(10)
    todo = script.directory / "tasklist" / "todo"
    wait_for(lambda: len(processes_of(todo)) == 2, seconds=1)  # of the other two
    runners["again"] = script.start(JOURNAL_TASKS, "again")
    wait_for(lambda: len(lines_of(journal)) == 4)
    assert lines_of(journal)[3] == f"begin {begun['b']} again"

    (script.directory / "go").touch()
    yielded = []
    for runner in runners.values():
        stdout, stderr = runner.communicate(timeout=60)
        assert runner.returncode == 0, stderr
        yielded += stdout.split()
    numbers = sorted(map(str, range(12)))
    assert sorted(yielded) == numbers
    fields = [line.split() for line in lines_of(journal)]
    assert sorted(number for event, number, _ in fields if event == "end") == numbers
    begins = Counter(number for event, number, _ in fields if event == "begin")
    assert begins == Counter(numbers) + Counter([begun["b"]])
    tasklist = TaskList(script.directory / "tasklist", exist_ok=True, pre_clean=False)
    assert sorted(str(task.returnvalue) for task in tasklist.done_tasks()) == numbers
    assert counts(script.directory / "tasklist") == [0, 12, 0]


def test_nothing_is_lost_or_done_twice_if_something_is_killed_at_any_moment():
    program = Path(__file__).with_name("kill_trials.py")
    command = [sys.executable, program, "--trials", "5", "--seed", "1"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stdout + process.stderr
    *_, columns, _, _, _, total = process.stdout.splitlines()
    assert columns.split()[:3] == ["killed", "trials", "kills"]
    trials, kills, executions = map(int, total.split()[1:4])
    assert trials == 5
    assert kills > 0
    assert executions >= 5 * 7  # of 8 tasks, one may be killed before it begins


# Many tasks ---------------------------------------------------------------------------

MANY_TASKS = """
import os, sys, time
from pathlib import Path
from runforrest import TaskList, defer

def memory(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1024

def number_of(number): return number

tasklist = TaskList("tasklist")
for number in range(100):
    tasklist.schedule(defer(number_of, number))
paths = sorted(Path("tasklist/todo").iterdir())
first = int(paths[-1].name.partition("-")[0])
# A file system may limit how many names a file has: give 1000 to each of 100 files.
for number in range(100, 100_000):
    os.link(paths[number % 100], f"tasklist/todo/{first + number}-00000000.pkl")
del paths

before = memory("VmRSS")
run = tasklist.run(nprocesses=2)
print(len(run))
started = time.perf_counter()
for count, task in enumerate(run, 1):
    if count == 1:
        print(time.perf_counter() - started)
    assert task.errorvalue is None
    if count == 10:
        break
print(memory("VmHWM") - before)
"""


def test_the_first_of_many_tasks_is_yielded_at_once_and_memory_stays_small(script):
    started = time.perf_counter()
    script.run("from runforrest import TaskList; list(TaskList('other').run())")
    bare = time.perf_counter() - started  # is longer on a busy machine
    try:
        output = script.run(MANY_TASKS).split()
    finally:
        shutil.rmtree(script.directory / "tasklist", ignore_errors=True)
    length, seconds, megabytes = map(float, output)
    assert length == 100_000
    assert seconds < max(2, 10 * bare)
    assert megabytes < 50
