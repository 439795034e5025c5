"""Run the tasks of a list: how many at a time, in what order, for how long."""

import argparse
import fcntl
import functools
import gzip
import inspect
import operator
import os
import queue
import re
import resource
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from conftest import processes_of, wait_for

import runforrest
from runforrest import TaskList, defer


@pytest.fixture
def tasklist(tmp_path):
    return TaskList(tmp_path / "tasklist")


def schedule(tasklist, *tasks):
    for task in tasks:
        tasklist.schedule(task)


def count(directory, pattern):
    return len(list(directory.glob(pattern)))


# What a run is ------------------------------------------------------------------------


def test_a_run_has_a_length_before_it_starts_and_when_it_has_ended(tasklist):
    schedule(tasklist, defer(abs, -1), defer(abs, -2), defer(divmod, 1, 0))
    run = tasklist.run()
    assert len(run) == 3
    assert len(list(run)) == 3
    assert len(run) == 3
    assert len(tasklist.run()) == 0


def test_a_run_starts_when_it_is_iterated(tasklist, tmp_path):
    schedule(tasklist, defer(os.mkdir, tmp_path / "started"))
    run = tasklist.run()
    assert not (tmp_path / "started").exists()
    assert len(list(tasklist.todo_tasks())) == 1
    list(run)
    assert (tmp_path / "started").exists()


def test_a_run_takes_the_tasks_that_were_there_when_it_was_made(tasklist):
    schedule(tasklist, defer(abs, -1))
    run = tasklist.run()
    schedule(tasklist, defer(abs, -2))
    assert [task.returnvalue for task in run] == [1]
    assert [task.returnvalue for task in tasklist.run()] == [2]


def test_a_run_without_tasks_ends_at_once(tasklist):
    assert list(tasklist.run()) == []


def test_the_same_run_iterated_twice_runs_no_task_twice(tasklist, tmp_path):
    schedule(tasklist, defer(os.mkdir, tmp_path / "a"), defer(os.mkdir, tmp_path / "b"))
    run = tasklist.run()
    assert [task.errorvalue for task in run] == [None, None]
    assert list(run) == []


def test_the_same_run_iterated_twice_at_once_runs_no_task_twice(tasklist, tmp_path):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    run = tasklist.run(nprocesses=2)
    finished = [task for one in run for task in (one, *run)]
    assert [task.errorvalue for task in finished] == [None] * 6


def test_a_run_inside_another_takes_what_is_left(tasklist, tmp_path):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    finished = []
    for task in tasklist.run(nprocesses=1):
        finished += [task, *tasklist.run(nprocesses=2)]
    assert [task.errorvalue for task in finished] == [None] * 6
    assert len(list(tasklist.done_tasks())) == 6


def test_tasks_can_be_scheduled_and_run_in_the_body_of_a_loop(tasklist):
    schedule(tasklist, defer(abs, -1))
    results = []
    for task in tasklist.run():
        schedule(tasklist, defer(operator.add, task.returnvalue, 1))
        results += [task.returnvalue for task in tasklist.run()]
    assert results == [2]


def test_a_task_may_have_a_task_list_of_its_own(script):
    output = script.run("""
from runforrest import TaskList, defer

def run_many(name):
    tasklist = TaskList(name, post_clean=True)
    for number in range(3):
        tasklist.schedule(defer(square, number))
    return sorted(task.returnvalue for task in tasklist.run())

def square(number):
    return number ** 2

tasklist = TaskList("tasklist")
tasklist.schedule(defer(run_many, "inner a"))
tasklist.schedule(defer(run_many, "inner b"))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "[0, 1, 4] None\n" * 2


@pytest.mark.parametrize(
    "reuse",
    [
        "exist_ok=True",
        "exist_ok=True, pre_clean=False",
        "noschedule_if_exist=True",
        "exist_ok=True); TaskList.clean(tasklist",
    ],
)
def test_a_task_that_imports_what_runs_it_is_told_so_and_touches_nothing(reuse, script):
    script.write(
        f"""
from runforrest import TaskList, defer

def double(x):
    return 2 * x

tasklist = TaskList("tasklist", {reuse})
for number in range(3):
    tasklist.schedule(defer(double, number))
for task in tasklist.run():
    print(type(task.errorvalue).__name__, "__main__" in str(task.errorvalue))
print(tasklist)
""",
        "module.py",
    )
    output = script.run("import module")
    assert output.startswith("RuntimeError True\n" * 3)
    assert output.endswith("todo=0, done=0, fail=3)\n")


# How many, and in what order ----------------------------------------------------------


def test_tasks_start_in_the_order_of_scheduling(script):
    script.run("""
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", logfile="log")
for number in range(8):
    tasklist.schedule(defer(abs, number))
for task in tasklist.run(nprocesses=2):
    pass
""")
    log = [line.split()[1:] for line in (script.directory / "log").open()]
    scheduled = [name for name, event in log if event == "schedule"]
    assert scheduled == sorted(scheduled)
    # Two that start at the same time may swap their lines, but no others.
    started = [name for name, event in log if event == "start"]
    places = [started.index(name) for name in scheduled]
    assert all(abs(place - order) <= 1 for order, place in enumerate(places))


def test_one_process_runs_all_tasks_one_by_one(tasklist):
    for number in range(6):
        schedule(tasklist, defer(abs, number))
    finished = [task.returnvalue for task in tasklist.run(nprocesses=1)]
    assert finished == [0, 1, 2, 3, 4, 5]


def test_no_more_tasks_than_nprocesses_run_at_the_same_time(script):
    script.run("""
import time
from runforrest import TaskList, defer

def journal():
    with open("journal", "a", buffering=1) as file:
        file.write("+")
        file.flush()
        time.sleep(0.1)
        file.write("-")

tasklist = TaskList("tasklist")
for _ in range(8):
    tasklist.schedule(defer(journal))
for task in tasklist.run(nprocesses=3):
    assert task.errorvalue is None
""")
    journal = (script.directory / "journal").read_text()
    running = [journal[:end].count("+") - journal[:end].count("-") for end in range(17)]
    assert max(running) <= 3
    assert running[-1] == 0
    assert len(journal) == 16


@pytest.mark.parametrize(
    ("argument", "expected"), [("", 4), ("nprocesses=2", 2), ("nprocesses=9", 9)]
)
def test_as_many_tasks_as_nprocesses_run_at_the_same_time(argument, expected, script):
    output = script.run(f"""
import time
from pathlib import Path
from runforrest import TaskList, defer

def meet(name):
    (here / name).touch()
    deadline = time.monotonic() + 30
    while len(list(here.iterdir())) < {expected} and time.monotonic() < deadline:
        time.sleep(0.01)
    return time.monotonic() < deadline

here = Path("here")
here.mkdir()
tasklist = TaskList("tasklist")
for number in range({expected}):
    tasklist.schedule(defer(meet, str(number)))
print(all(task.returnvalue for task in tasklist.run({argument})))
""")
    assert output == "True\n"


def test_a_slow_consumer_leaves_no_slot_idle(tasklist, tmp_path):
    for number in range(6):
        schedule(tasklist, defer(os.mkdir, tmp_path / f"ran {number}"))
    for _ in tasklist.run(nprocesses=2):
        wait_for(lambda: count(tmp_path, "ran *") == 6)
    assert len(list(tasklist.done_tasks())) == 6


def test_a_finished_task_is_yielded_while_others_are_running(tasklist, tmp_path):
    os.mkfifo(tmp_path / "gate")
    schedule(tasklist, defer(open, tmp_path / "gate", "rb").close(), defer(abs, -1))
    run = iter(tasklist.run(nprocesses=2))
    assert next(run).returnvalue == 1
    (tmp_path / "gate").open("wb").close()
    assert next(run).errorvalue is None


def test_an_iterator_may_be_used_in_another_thread(tasklist):
    schedule(tasklist, defer(abs, -1), defer(abs, -2))
    results = queue.Queue()
    run = iter(tasklist.run(nprocesses=1))
    next(run)
    thread = threading.Thread(target=lambda: results.put([*run]))
    thread.start()
    assert [task.returnvalue for task in results.get(timeout=30)] == [2]
    thread.join()


def test_tqdm_knows_the_total(tasklist, capsys):
    tqdm = pytest.importorskip("tqdm")
    schedule(tasklist, defer(abs, -1), defer(abs, -2), defer(abs, -3))
    bar = tqdm.tqdm(tasklist.run())
    assert bar.total == 3
    assert sorted(task.returnvalue for task in bar) == [1, 2, 3]
    assert "3/3" in capsys.readouterr().err


# Leave the loop -----------------------------------------------------------------------


def sleepers(tasklist, number=3):
    """Schedule a task that ends, and some that don't."""
    schedule(tasklist, defer(abs, -1), *[defer(time.sleep, 600)] * number)


@pytest.mark.parametrize("leave", ["break", "raise", "close", "forget"])
def test_to_leave_the_loop_kills_what_is_running_and_keeps_it_in_todo(
    leave, tasklist, tmp_path
):
    sleepers(tasklist)
    run = iter(tasklist.run(nprocesses=2))
    with suppress(KeyError):
        for task in run:
            assert task.returnvalue == 1
            wait_for(lambda: len(processes_of(tmp_path)) == 2)
            if leave == "raise":
                raise KeyError
            break
    if leave == "close":
        run.close()
    del run
    assert not processes_of(tmp_path)
    assert [count(tmp_path, f"tasklist/{s}/*") for s in ("todo", "done", "fail")] == [
        3,
        1,
        0,
    ]


def test_an_exception_in_the_loop_is_not_changed(tasklist):
    sleepers(tasklist)
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        for _ in tasklist.run(nprocesses=2):
            raise error
    assert caught.value is error


def test_what_a_loop_left_runs_the_next_time_and_once(tasklist, tmp_path):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    for _ in range(2):
        for task in tasklist.run(nprocesses=1):
            assert task.errorvalue is None
            break
    assert len(list(tasklist.todo_tasks())) >= 1
    assert all(task.errorvalue is None for task in tasklist.run())
    assert len(list(tasklist.done_tasks())) == 6


@pytest.mark.parametrize("system", ["", "import fcntl; del fcntl.F_SETSIG"])
def test_to_leave_the_loop_kills_what_is_running_though_another_process_was_forked(
    system, script
):
    """With the signals of Linux, and with the thread that does it elsewhere."""
    script.write(system, "sitecustomize.py")
    output = script.run("""
import multiprocessing
import time
from pathlib import Path
from runforrest import TaskList, defer

def oversleep():
    Path("asleep").touch()
    time.sleep(12)

worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=[12])
tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
tasklist.schedule(defer(oversleep))
for task in tasklist.run(nprocesses=1):
    while not Path("asleep").exists():
        time.sleep(0.01)
    started = time.monotonic()
    worker.start()
    break
print(time.monotonic() - started < 6, len(list(tasklist.todo_tasks())))
worker.kill()
""")
    assert output == "True 1\n"


def test_without_pidfd_a_process_is_waited_for_in_another_way(script):
    output = script.run("""
import os
import time
from runforrest import TaskList, defer

del os.pidfd_open
tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
tasklist.schedule(defer(os.kill, defer(os.getpid), 9))
tasklist.schedule(defer(time.sleep, 60))
for task in tasklist.run(nprocesses=1, autokill=1):
    print(task.returnvalue, type(task.errorvalue).__name__)
""")
    assert output == "1 NoneType\nNone CalledProcessError\nNone TimeoutExpired\n"


def test_a_task_whose_runner_is_gone_before_it_begins_is_not_run(tasklist, tmp_path):
    schedule(tasklist, defer(os.mkdir, tmp_path / "begun"))
    (infile,) = (tmp_path / "tasklist" / "todo").iterdir()
    alive, leash = os.pipe()
    os.close(leash)
    process = subprocess.run(
        [sys.executable, "-m", "runforrest", infile, tmp_path / "result.pkl"],
        env={**os.environ, "RUNFORREST": f"{alive}:"},
        pass_fds=[alive],
        timeout=60,
        check=False,
    )
    os.close(alive)
    assert process.returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tasklist"]


def test_a_run_that_was_never_finished_does_not_keep_the_script_alive(script):
    process = script.start("""
import time
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for _ in range(3):
    tasklist.schedule(defer(time.sleep, 1000))
run = iter(tasklist.run(nprocesses=2))
print(next(run).returnvalue)
""")
    assert process.communicate(timeout=60) == ("1\n", "")
    wait_for(lambda: not processes_of(script.directory))


def test_results_that_are_taken_away_while_others_run_do_not_end_the_loop(tasklist):
    schedule(tasklist, *(defer(pow, number, 2) for number in range(4)))
    found = []
    for task in tasklist.run(nprocesses=1):
        found.append(task.returnvalue)
        tasklist.clean(clean_todo=False, clean_fail=False)
    assert found == [0, 1, 4, 9]


def test_a_fork_that_leaves_the_loop_does_not_end_it(script):
    output = script.run("""
import os
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
for number in range(4):
    tasklist.schedule(defer(abs, -number))
count = 0
for task in tasklist.run(nprocesses=1):
    child = os.fork()
    if child == 0:
        os._exit(0) if count else exit()
    os.waitpid(child, 0)
    count += 1
print(count, tasklist)
""")
    assert output.startswith("4 TaskList(")
    assert output.endswith("todo=0, done=4, fail=0)\n")


def test_a_loop_is_left_at_once_though_many_run_and_a_fork_goes_on(script):
    output = script.run("""
import os, signal, time
from pathlib import Path
from runforrest import TaskList, defer

def oversleep(number):
    Path(f"asleep{number}").touch()
    time.sleep(30)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for number in range(8):
    tasklist.schedule(defer(oversleep, number))
for task in tasklist.run(nprocesses=8):
    while len(list(Path().glob("asleep*"))) < 8:
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    started = time.monotonic()
    break
print(time.monotonic() - started < 15, str(tasklist)[-23:])
os.kill(child, signal.SIGKILL)
""")
    assert output == "True todo=8, done=1, fail=0)\n"


@pytest.mark.skipif(
    0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2048,
    reason="fewer files than this may be open here",
)
@pytest.mark.parametrize("system", ["", "import fcntl; del fcntl.F_SETSIG"])
def test_a_caller_with_a_thousand_open_files_runs_tasks(system, script):
    """There are more of them than select.select can tell apart."""
    script.write(system, "sitecustomize.py")
    output = script.run("""
import os, resource, time
from pathlib import Path
from runforrest import TaskList, defer

def oversleep():
    Path("asleep").touch()
    time.sleep(60)

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, most))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
tasklist.schedule(defer(oversleep))
started = time.monotonic()
for task in tasklist.run(nprocesses=1):
    print(task.returnvalue)
    while not Path("asleep").exists():
        time.sleep(0.01)
    break
print(time.monotonic() - started < 30, len(list(tasklist.todo_tasks())))
""")
    assert output == "1\nTrue 1\n"


@pytest.mark.parametrize(
    "autokill", ["None", "60", "__import__('decimal').Decimal(60)"]
)
def test_a_caller_that_ignores_the_end_of_its_children_runs_tasks(autokill, script):
    process = script.start(f"""
import pathlib, signal, sys
from runforrest import TaskList, defer

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
sys.path.append(pathlib.Path("lib"))
tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for task in tasklist.run(autokill={autokill}):
    print(task.returnvalue)
""")
    assert process.communicate(timeout=60) == ("1\n", "")


# Print the errors ---------------------------------------------------------------------


def test_print_errors_prints_the_full_stack_trace(script):
    script.write("def inner(x):\n    return 1 // x\n", "beside.py")
    source = """
from runforrest import TaskList, defer
import beside

def outer():
    return beside.inner(0)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(outer))
tasklist.schedule(defer(abs, -1))
for task in tasklist.run({}):
    pass
"""
    process = script.start(source.format("print_errors=True"))
    _, errors = process.communicate(timeout=60)
    assert errors.startswith("Traceback (most recent call last):\n")
    for part in ("in outer", "in inner", "return 1 // x", "ZeroDivisionError"):
        assert errors.count(part) == 1
    process = script.start(source.replace("tasklist", "other").format(""))
    assert process.communicate(timeout=60) == ("", "")


# Send the session ---------------------------------------------------------------------

HIDDEN_NAMES = """
import enum
import multiprocessing.pool
import sqlite3
import threading
from runforrest import TaskList, defer

class Colour(enum.Enum):
    RED = 1

def double(number):
    return 2 * number

number = 21
generator = (n for n in range(3))
pool = multiprocessing.pool.ThreadPool(1)
database = sqlite3.connect(":memory:")
thread_local = threading.local()

def by_name(name):
    return globals()[name]

tasklist = TaskList("tasklist")
tasklist.schedule(defer(by_name, "number"))
tasklist.schedule(defer(lambda: eval("double(number)")))
tasklist.schedule(defer(lambda: eval("Colour.RED.name")))
for task in tasklist.run(nprocesses=1, save_session={save_session}):
    print(task.returnvalue, repr(task.errorvalue))
pool.terminate()
"""


def test_save_session_sends_the_names_that_only_their_text_tells(script):
    source = HIDDEN_NAMES.format(save_session=True)
    assert script.run(source) == "21 None\n42 None\nRED None\n"


def test_names_that_only_their_text_tells_are_missing_without_save_session(script):
    source = HIDDEN_NAMES.format(save_session=False)
    lines = script.run(source).splitlines()
    assert [line.partition("(")[0] for line in lines] == [
        "None KeyError",
        "None NameError",
        "None NameError",
    ]


def test_the_error_tells_why_a_name_of_the_session_is_missing(script):
    output = script.run("""
from runforrest import TaskList, defer

numbers = (n for n in range(3))

def use():
    return next(numbers)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(use))
for save_session in (False, True):
    for task in tasklist.run(save_session=save_session):
        assert type(task.errorvalue) is NameError
        print(" ".join(task.errorvalue.__notes__).count("generator"))
    tasklist.schedule(task)
""")
    assert [int(line) > 0 for line in output.splitlines()] == [True, True]


def test_an_error_that_knows_how_to_be_pickled_has_its_traceback_too(script):
    output = script.run("""
import json
from runforrest import TaskList, defer

class Mine(Exception):
    def __init__(self, a, b):
        self.a, self.b = a, b
    def __reduce__(self):
        return Mine, (self.a, self.b)

def fail(text):
    if text:
        json.loads(text)
    raise Mine(1, 2)

tasklist = TaskList("tasklist")
for text in "{", "":
    tasklist.schedule(defer(fail, text))
for task in tasklist.run(nprocesses=1):
    print(type(task.errorvalue).__name__, "in fail" in task.errorvalue.__notes__[0])
""")
    assert output == "JSONDecodeError True\nMine True\n"


def test_another_script_is_told_the_traceback_of_an_error_that_it_can_not_load(script):
    script.run("""
from runforrest import TaskList, defer

class Mine(Exception):
    pass

def fail():
    raise Mine("too bad")

tasklist = TaskList("tasklist")
tasklist.schedule(defer(fail))
list(tasklist.run())
""")
    output = script.run(
        """
from runforrest import TaskList

for task in TaskList("tasklist", exist_ok=True, pre_clean=False).fail_tasks():
    print(type(task.errorvalue).__name__, *task.errorvalue.__notes__)
""",
        name="other.py",
    )
    assert output.startswith("AttributeError")
    assert "in fail" in output
    assert "Mine: too bad" in output


def test_the_error_tells_why_what_only_a_session_could_send_is_missing(script):
    output = script.run("""
from runforrest import TaskList, defer

numbers = (n for n in range(3))

def use():
    return eval("next(numbers)")

tasklist = TaskList("tasklist")
tasklist.schedule(defer(use))
for task in tasklist.run(save_session=True):
    print(type(task.errorvalue).__name__, *task.errorvalue.__notes__)
""")
    assert output.startswith("NameError")
    assert "numbers did not come along: TypeError" in output


def test_an_error_of_another_kind_is_not_explained_by_what_did_not_come_along(script):
    output = script.run("""
from runforrest import TaskList, defer

numbers = (n for n in range(3))

def use():
    return "numbers" in globals() or {}["numbers"]

tasklist = TaskList("tasklist")
tasklist.schedule(defer(use))
for task in tasklist.run(save_session=True):
    print(task.errorvalue, *task.errorvalue.__notes__)
""")
    assert "KeyError: 'numbers'" in output
    assert "did not come along" not in output


def test_the_error_tells_why_the_class_of_an_argument_is_missing(script):
    output = script.run("""
from runforrest import TaskList, defer

class Numbers:
    some = (n for n in range(3))
    def first(self):
        return next(self.some)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(str, Numbers()))
tasklist.schedule(defer(Numbers.first, 1))
for task in tasklist.run():
    print(task.errorvalue, *task.errorvalue.__notes__)
""")
    for missing in "'Numbers'", "'Numbers.first'":
        assert re.search(f"(attribute|path) {missing}", output)
    reason = "Numbers did not come along: TypeError"
    assert output.count(reason) == 2 * 2  # in the notes, and in the tracebacks


def test_a_session_leaves_what_python_knows_about_the_script_behind(script):
    output = script.run("""
import sys
from runforrest import TaskList, defer

def known():
    return {name for name in vars(sys.modules["__main__"]) if name[:2] == "__"}

tasklist = TaskList("tasklist")
for save_session in (False, True):
    tasklist.schedule(defer(known))
    for task in tasklist.run(save_session=save_session):
        print("__spec__" in task.returnvalue, "__file__" in task.returnvalue)
""")
    assert output == "True False\n" * 2


def test_a_function_keeps_the_globals_that_it_was_made_with(script):
    output = script.run("""
from runforrest import TaskList, defer

here = {"__name__": "__main__", "number": 2}
exec("def double(x): return number * x", here)
double, number = here["double"], 3
tasklist = TaskList("tasklist")
tasklist.schedule(defer(lambda: double(number)))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "6 None\n"


def test_save_session_sends_what_the_names_mean_when_the_run_is_made(script):
    output = script.run("""
from runforrest import TaskList, defer

value = "when it was scheduled"
def look(name):
    return eval(name)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(look, "value"))
value = "when it ran"
for task in tasklist.run(save_session=True):
    print(task.returnvalue)
""")
    assert output == "when it ran\n"


# What a function uses comes along with it ---------------------------------------------


def test_locks_arrive_free_and_type_variables_as_such(script):
    output = script.run("""
import threading
from typing import Generic, TypeVar
from runforrest import TaskList, defer

T = TypeVar("T", int, str)
lock, rlock = threading.Lock(), threading.RLock()

class Stack(Generic[T]):
    def __init__(self):
        self.items: list[T] = []

def use():
    with lock, rlock:
        return type(Stack[int]()).__name__, T.__constraints__ == (int, str)

tasklist = TaskList("tasklist")
with lock, rlock:
    tasklist.schedule(defer(use))
for task in tasklist.run(autokill=30):
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "('Stack', True) None\n"


def test_a_file_that_is_open_for_writing_is_an_error_and_stays_as_it_is(script):
    output = script.run("""
from pathlib import Path
from runforrest import TaskList, defer

file = open("results.txt", "w")
file.write("precious")
file.flush()

def use():
    file.write("more")

tasklist = TaskList("tasklist")
tasklist.schedule(defer(use))
for task in tasklist.run():
    print(type(task.errorvalue).__name__)
    print(any("results.txt" in note for note in task.errorvalue.__notes__))
try:
    tasklist.schedule(defer(print, "more", file=file))
except TypeError as error:
    print("results.txt" in str(error))
print(Path("results.txt").read_text(), len(list(tasklist.todo_tasks())))
""")
    assert output == "NameError\nTrue\nTrue\nprecious 0\n"


def test_an_error_that_can_not_be_pickled_is_told_by_its_type_and_its_text(script):
    output = script.run("""
from runforrest import TaskList, defer

class Mine(Exception):
    pass

def fail():
    error = Mine("too bad", (n for n in "ab"))
    error.add_note("a note")
    raise error

tasklist = TaskList("tasklist")
tasklist.schedule(defer(fail))
for task in tasklist.run():
    error = task.errorvalue
    print(type(error).__name__, "Mine: ('too bad', <gen" in str(error))
    print("in fail" in (notes := "".join(error.__notes__)), "a note" in notes)
""")
    assert output == "RuntimeError True\nTrue True\n"


def test_a_caller_without_standard_streams_runs_tasks(script):
    output = script.run("""
import os
from runforrest import TaskList, defer

out = os.dup(1)
for descriptor in 0, 1, 2:
    os.close(descriptor)
tasklist = TaskList("tasklist")
for descriptor in 1, 2:
    tasklist.schedule(defer(os.write, descriptor, b"this is lost"))
for task in tasklist.run():
    os.write(out, f"{task.returnvalue} {task.errorvalue}\\n".encode())
""")
    assert output == "12 None\n12 None\n"


def test_an_error_of_the_script_is_caught_as_such(script):
    output = script.run("""
from runforrest import TaskList, defer

class Mine(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.second = second

def fail():
    raise Mine(1, 2)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(fail))
for task in tasklist.run():
    try:
        raise task.errorvalue
    except Mine as error:
        print(error, error.second)
""")
    assert output == "1 and 2 2\n"


def test_the_module_is_found_from_a_working_directory_that_does_not_have_it(script):
    """As in a notebook, where the module was found in the working directory of then."""
    (script.directory / "runforrest.py").symlink_to(runforrest.__file__)
    (script.directory / "below").mkdir()
    output = script.run("""
import os
from pathlib import Path
import sys

def has_it(path):
    return (Path(path) / "runforrest.py").exists()

sys.path[:] = ["", *(path for path in sys.path if not has_it(path))]
from runforrest import TaskList, defer

os.chdir("below")
tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "1 None\n"


@pytest.mark.parametrize("end", ["return 'child'", "raise KeyError('child')"])
def test_a_fork_that_a_task_lets_go_on_has_no_result(end, script):
    output = script.run(f"""
import os
import time
from runforrest import TaskList, defer

def fork():
    number = os.fork()
    if number == 0:
        {end}
    os.waitpid(number, 0)
    return "parent"

tasklist = TaskList("tasklist")
tasklist.schedule(defer(fork))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "parent None\n"


def test_what_c_code_has_not_written_yet_is_written_when_its_task_ends(script):
    """Libraries in C and Fortran close their files as the very last step."""
    script.run("""
import ctypes
from runforrest import TaskList, defer

def write(path):
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    c.fputs(b"kept", ctypes.c_void_p(c.fopen(path, b"w")))

tasklist = TaskList("tasklist")
tasklist.schedule(defer(write, b"file"))
for task in tasklist.run():
    assert task.errorvalue is None, task.errorvalue
""")
    assert (script.directory / "file").read_text() == "kept"


def test_what_python_has_not_written_yet_is_written_when_its_task_ends(script):
    """Compressed files and the like need their modules to be closed."""
    script.run("""
import gzip
import zipfile
from runforrest import TaskList, defer

def write():
    global file, archive
    file = gzip.open("file.gz", "wb")
    file.write(b"kept")
    archive = zipfile.ZipFile("file.zip", "w")
    archive.writestr("name", "kept")

tasklist = TaskList("tasklist")
tasklist.schedule(defer(write))
for task in tasklist.run():
    assert task.errorvalue is None, task.errorvalue
""")
    if sys.version_info < (3, 14):  # later ones don't write them at the end
        packed = (script.directory / "file.gz").read_bytes()
        assert gzip.decompress(packed) == b"kept"
    assert zipfile.ZipFile(script.directory / "file.zip").read("name") == b"kept"


def test_what_a_task_changes_in_its_arguments_is_not_kept_for_the_next_time(script):
    script.run("""
import os
import numpy
from runforrest import TaskList, defer

def change(array):
    array -= 1
    assert array.sum() == 0, array

tasklist = TaskList("tasklist")
tasklist.schedule(defer(change, numpy.full(1000, 2.0)))
told = set()
for _ in range(3):
    for task in tasklist.run():
        told.add(str(task.errorvalue))
    for state in "fail", "done":
        for name in os.listdir(f"tasklist/{state}"):
            os.rename(f"tasklist/{state}/{name}", f"tasklist/todo/{name}")
assert len(told) == 1, told
""")


def test_what_is_open_for_writing_can_not_be_an_argument(tasklist, tmp_path):
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    with path.open("r+b") as both, gzip.open(tmp_path / "file.gz", "wb") as packed:
        mapped = numpy.memmap(path, mode="r+")
        for argument in both, packed, mapped:
            with pytest.raises(TypeError, match="open for writing"):
                tasklist.schedule(defer(id, argument))
        readable = numpy.memmap(path, mode="r")
        schedule(tasklist, defer(bytes, readable))
    assert [task.returnvalue for task in tasklist.run()] == [b"12345678"]


def test_what_has_a_mode_and_is_no_file_can_be_an_argument(tasklist):
    values = argparse.Namespace(mode="w"), functools.partial(abs)
    values[1].mode = "w"
    schedule(tasklist, defer(tuple, values))
    (task,) = tasklist.run()
    assert [value.mode for value in task.returnvalue] == ["w", "w"]


def test_what_a_task_printed_before_it_was_killed_is_in_the_log(script, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    script.run("""
import os
from runforrest import TaskList, defer

def die():
    print("last words")
    os.kill(os.getpid(), 9)

tasklist = TaskList("tasklist", logfile="log")
tasklist.schedule(defer(die))
for task in tasklist.run():
    pass
""")
    assert "last words\n" in (script.directory / "log").read_text()


def test_a_fork_in_a_task_ends_as_it_says(script):
    output = script.run("""
import os
import sys
from runforrest import TaskList, defer

def fork_and_exit(code):
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(code)

tasklist = TaskList("tasklist")
for code in 7, 0:
    tasklist.schedule(defer(fork_and_exit, code))
print(*[task.returnvalue for task in tasklist.run(nprocesses=1)])
""")
    assert output == "7 0\n"


# Kill what takes too long -------------------------------------------------------------


def test_autokill_kills_what_takes_too_long_with_all_its_children(script):
    output = script.run(f"""
import os
import subprocess
import sys
import time
from runforrest import TaskList, defer

def sleep_with_a_child():
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", {MARKER!r}])

tasklist = TaskList("tasklist")
tasklist.schedule(defer(sleep_with_a_child), metadata="late")
tasklist.schedule(defer(abs, -1), metadata="in time")
started = time.monotonic()
finished = {{task.metadata: task for task in tasklist.run(autokill=1.5)}}
assert time.monotonic() - started < 30
print(finished["in time"].returnvalue)
late = finished["late"]
print(late.returnvalue, type(late.errorvalue).__name__, late.errorvalue.timeout)
print(1 <= late.runtime < 30)
""")
    assert output == "1\nNone TimeoutExpired 1.5\nTrue\n"
    assert not processes_of(MARKER)


MARKER = f"child of a task of {os.getpid()}"


def test_autokill_counts_from_the_start_of_each_task(tasklist):
    schedule(tasklist, *[defer(time.sleep, 0.4)] * 4)
    finished = list(tasklist.run(nprocesses=1, autokill=1.3))
    assert [task.errorvalue for task in finished] == [None] * 4


# Runners that die, and runners that meet ----------------------------------------------


def test_a_result_is_used_if_its_runner_died_before_it_could(script):
    output = script.run(
        """
import os
import sys
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
if "die" in sys.argv:
    tasklist.schedule(defer(os.mkdir, "ran once"))
    tasklist.schedule(defer(os.rmdir, "missing"))
    unlink = os.unlink
    os.unlink = lambda path: os._exit(9) if path.endswith("pkl") else unlink(path)
for task in tasklist.run(nprocesses=1):
    print(type(task.errorvalue).__name__)
""",
        "die",
        check=False,
    )
    assert output == ""
    assert (script.directory / "ran once").exists()
    output = script.run((script.directory / "script.py").read_text())
    assert output == "NoneType\nFileNotFoundError\n"


def test_a_task_that_is_taken_away_while_it_is_claimed_is_not_run(
    tasklist, tmp_path, monkeypatch
):
    schedule(tasklist, defer(os.mkdir, tmp_path / "ran"))
    (path,) = (tmp_path / "tasklist" / "todo").iterdir()
    flock = fcntl.flock

    def replace_first(*args):
        content = path.read_bytes()
        path.rename(tmp_path / "taken away.pkl")
        path.write_bytes(content)
        return flock(*args)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    assert list(tasklist.run()) == []
    assert not (tmp_path / "ran").exists()
    monkeypatch.undo()
    assert [task.errorvalue for task in tasklist.run()] == [None]


def test_a_task_that_another_runner_runs_is_left_to_it(tasklist, tmp_path):
    os.mkfifo(tmp_path / "gate")
    schedule(tasklist, defer(open, tmp_path / "gate", "rb").close())
    run = tasklist.run()
    results = queue.Queue()
    thread = threading.Thread(target=lambda: results.put([*run]))
    thread.start()
    wait_for(lambda: processes_of(tmp_path))
    assert list(tasklist.run()) == []
    (tmp_path / "gate").open("wb").close()
    assert [task.errorvalue for task in results.get(timeout=30)] == [None]
    thread.join()


def test_what_another_runs_is_left_to_it_by_an_executor_after_a_while_else_at_once(
    tasklist, tmp_path
):
    schedule(tasklist, defer(abs, -1), defer(abs, -2))
    path = min((tmp_path / "tasklist" / "todo").iterdir())
    with path.open("r+b") as claimed, ThreadPoolExecutor(1) as executor:
        fcntl.flock(claimed, fcntl.LOCK_EX)
        started = time.monotonic()
        assert [task.returnvalue for task in tasklist.run(executor=executor)] == [2]
        patience = time.monotonic() - started
        assert patience > 4
        assert list(tasklist.run()) == []
        assert time.monotonic() - started - patience < patience
    assert [task.returnvalue for task in tasklist.run()] == [1]


def test_a_damaged_file_is_kept_as_it_is_and_yielded_with_the_reason(
    tasklist, tmp_path
):
    schedule(tasklist, defer(abs, -1), defer(abs, -2))
    path, _ = sorted((tmp_path / "tasklist" / "todo").iterdir())
    content = path.read_bytes()[:-10]
    path.write_bytes(content)
    damaged, intact = tasklist.run(nprocesses=1)
    assert damaged.returnvalue is None
    assert "damaged" in str(damaged.errorvalue)
    assert intact.returnvalue == 2
    assert (tmp_path / "tasklist" / "fail" / path.name).read_bytes() == content
    assert count(tmp_path, "tasklist/todo/*") == 0


def test_a_result_that_was_damaged_is_replaced_when_its_task_runs_again(
    tasklist, tmp_path
):
    schedule(tasklist, defer(abs, -1))
    (path,) = (tmp_path / "tasklist" / "todo").iterdir()
    task = path.read_bytes()
    assert [task.returnvalue for task in tasklist.run()] == [1]
    (tmp_path / "tasklist" / "done" / path.name).write_bytes(task[:10])
    path.write_bytes(task)
    assert [task.returnvalue for task in tasklist.run()] == [1]
    assert [task.returnvalue for task in tasklist.done_tasks()] == [1]


# Run elsewhere ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_an_executor_runs_the_tasks(kind, script):
    output = script.run(f"""
import concurrent.futures
from runforrest import TaskList, defer

def divide(number):
    return 1 / number

if __name__ == "__main__":
    tasklist = TaskList("tasklist", logfile="log")
    for number in range(3):
        tasklist.schedule(defer(divide, number))
    with concurrent.futures.{kind}(2) as executor:
        run = tasklist.run(nprocesses=2, executor=executor)
        assert len(run) == 3
        results = sorted(f"{{t.returnvalue}} {{t.errorvalue}}" for t in run)
    print(*results, sep="\\n")
    print(tasklist)
""")
    *results, summary = output.splitlines()
    assert results == ["0.5 None", "1.0 None", "None division by zero"]
    assert summary.endswith("todo=0, done=2, fail=1)")


def test_to_leave_the_loop_keeps_what_an_executor_has_not_started(tasklist, tmp_path):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    with ThreadPoolExecutor(1) as executor:
        for task in tasklist.run(nprocesses=2, executor=executor):
            assert task.errorvalue is None
            break
    assert count(tmp_path, "tasklist/todo/*") >= 2
    assert len(list(tasklist.run())) >= 2
    assert count(tmp_path, "tasklist/done/*") == 6
    assert count(tmp_path, "tasklist/fail/*") == 0


def test_an_executor_that_is_shut_down_is_an_error_that_loses_nothing(tasklist):
    schedule(tasklist, defer(abs, -1))
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        list(tasklist.run(executor=executor))
    assert [task.returnvalue for task in tasklist.run()] == [1]


# Arguments ----------------------------------------------------------------------------


def test_the_arguments_and_their_defaults_are_those_of_the_readme():
    assert str(inspect.signature(TaskList)) == (
        "(directory, exist_ok=False, pre_clean=True, post_clean=False, logfile=None,"
        " noschedule_if_exist=False)"
    )
    assert str(inspect.signature(TaskList.run)) == (
        "(self, nprocesses=4, print_errors=False, save_session=False, autokill=None,"
        " executor=None)"
    )
    assert str(inspect.signature(TaskList.schedule)) == "(self, task, metadata=None)"
    assert str(inspect.signature(TaskList.clean)) == (
        "(self, clean_todo=True, clean_done=True, clean_fail=True)"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"nprocesses": 0},
        {"nprocesses": -1},
        {"nprocesses": "4"},
        {"nprocesses": 1.5},
        {"nprocesses": None},
        {"autokill": 0},
        {"autokill": 1e9},
        {"autokill": -1},
        {"autokill": "1"},
        {"autokill": float("nan")},
        {"executor": 4},
    ],
    ids=str,
)
def test_a_wrong_argument_is_an_error_before_anything_is_touched(arguments, tasklist):
    schedule(tasklist, defer(abs, -1))
    (name,) = arguments
    with pytest.raises((TypeError, ValueError), match=name):
        tasklist.run(**arguments, save_session=True)
    assert repr(tasklist).endswith("todo=1, done=0, fail=0)")
    (task,) = tasklist.run()
    assert task.returnvalue == 1
