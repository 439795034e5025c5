"""Run the tasks of a list: how many at a time, in what order, for how long."""

import fcntl
import gzip
import inspect
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from conftest import MODULE_DIRECTORY, counts, processes_of, schedule, wait_for

import runforrest
from runforrest import TaskList, defer

# What a run is ------------------------------------------------------------------------


def test_a_run_has_a_length_before_it_starts_and_when_it_has_ended(tasklist):
    assert (len(tasklist.run()), list(tasklist.run())) == (0, [])
    schedule(tasklist, defer(abs, -1), defer(abs, -2), defer(divmod, 1, 0))
    run = tasklist.run()
    assert [len(run), len(list(run)), len(run)] == [3, 3, 3]


def test_a_run_takes_what_was_there_when_it_was_made_and_starts_when_it_is_iterated(
    tasklist, directory
):
    schedule(tasklist, defer(abs, -1))
    run = tasklist.run()
    schedule(tasklist, defer(abs, -2))
    assert counts(directory) == [2, 0, 0]
    assert "start" not in directory.with_name("log").read_text()
    assert [task.returnvalue for task in run] == [1]
    assert [task.returnvalue for task in tasklist.run()] == [2]


def test_the_same_run_iterated_twice_or_at_once_runs_no_task_twice(tasklist, tmp_path):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    run = tasklist.run(nprocesses=2)
    finished = [task for one in run for task in (one, *run)]
    assert [task.errorvalue for task in finished] == [None] * 6
    assert list(run) == []


def test_a_run_inside_another_takes_what_is_left(tasklist, tmp_path):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    finished = []
    for task in tasklist.run(nprocesses=1):
        finished += [task, *tasklist.run(nprocesses=2)]
    assert [task.errorvalue for task in finished] == [None] * 6
    assert len(list(tasklist.done_tasks())) == 6


def test_a_task_may_have_a_task_list_of_its_own(script):
    output = script.run_tasks(
        """
def run_many(name):
    tasklist = TaskList(name, post_clean=True)
    for number in range(3):
        tasklist.schedule(defer(square, number))
    return sorted(task.returnvalue for task in tasklist.run())

def square(number): return number ** 2
""",
        "defer(run_many, 'inner a')",
        "defer(run_many, 'inner b')",
    )
    assert output == "[0, 1, 4] None\n" * 2


# A task that starts the script again --------------------------------------------------

STARTED_AGAIN = """
import multiprocessing, os, sys
from runforrest import TaskList, defer
import helper

FACTOR = 2
with open({starts!r}, "a") as starts:
    print(__name__, file=starts)
if len(open({starts!r}).readlines()) > 20:
    os._exit(9)  # or it would go on for ever

def start_a_process(method):
    where = __file__
    process = multiprocessing.get_context(method).Process(target=abs, args=[where])
    process.start()
    process.join()
    return process.exitcode

def start_a_pool_that_starts_them_for_ever(method):
    where = __file__
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(abs, [where])

tasklist = TaskList({directory!r}, {reuse})
tasklist.schedule(defer(abs, -1))
for task in tasklist.run():
    print("earlier:", task.returnvalue, flush=True)
for number in range(2):
    tasklist.schedule({task})
for task in tasklist.run(nprocesses=1, autokill={autokill}):
    print(task.returnvalue, repr(task.errorvalue), flush=True)
print(*[task.returnvalue for task in tasklist.done_tasks()], flush=True)
"""


def start_again(script, task, reuse, directory="tasklist", autokill=60):
    """Run a script with a task that runs it again; return its lines and its starts."""
    script.write(
        """
import os

def import_late(): from script import FACTOR

def import_late_from_elsewhere():
    os.chdir("/")
    import_late()
""",
        "helper.py",
    )
    starts = script.directory / "starts"
    output = script.run(
        STARTED_AGAIN.format(
            task=task,
            reuse=reuse,
            directory=directory,
            autokill=autokill,
            starts=str(starts),
        )
    )
    return output.splitlines(), len(starts.read_text().splitlines())


reused = pytest.mark.parametrize(
    "reuse",
    [
        "exist_ok=True",
        "exist_ok=True, pre_clean=False",
        "exist_ok=True, post_clean=True",
        "exist_ok=True); tasklist.clean(",
        "noschedule_if_exist=True",
    ],
)


@reused
def test_a_task_that_imports_the_script_fails_and_touches_nothing(reuse, script):
    (first, *others, done), starts = start_again(
        script, "defer(helper.import_late)", reuse
    )
    assert first == "earlier: 1"
    assert [line.split("(")[0] for line in others] == ["None RuntimeError"] * 2
    assert all("__main__" in line for line in others)
    assert (done, starts) == ("1", 3)


@pytest.mark.parametrize("directory", ["tasklist", "link/tasklist", "./tasklist/"])
@pytest.mark.parametrize("task", ["import_late", "import_late_from_elsewhere"])
def test_the_list_is_known_to_its_tasks_whatever_its_path_looks_like(
    directory, task, script
):
    (script.directory / "below").mkdir()
    (script.directory / "link").symlink_to("below")
    (_, *others, done), starts = start_again(
        script, f"defer(helper.{task})", "exist_ok=True", directory
    )
    assert [line.split("(")[0] for line in others] == ["None RuntimeError"] * 2
    assert (done, starts) == ("1", 3)


@pytest.mark.parametrize("name", ["link/tasklist", "below/../link/../below/tasklist"])
def test_a_task_can_not_make_its_list_by_another_name(name, script):
    (script.directory / "below").mkdir()
    (script.directory / "link").symlink_to("below")
    output = script.run(f"""
from runforrest import TaskList, defer

def make(): TaskList({name!r}, exist_ok=True)

tasklist = TaskList("below/tasklist")
for _ in range(2):
    tasklist.schedule(defer(make))
for task in tasklist.run(nprocesses=1):
    print(type(task.errorvalue).__name__)
""")
    assert output == "RuntimeError\n" * 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@reused
def test_a_process_of_a_task_that_runs_the_script_touches_nothing(
    reuse, method, script
):
    lines, _ = start_again(script, f"defer(start_a_process, {method!r})", reuse)
    assert lines == ["earlier: 1", "1 None", "1 None", "1 1 1"]


def test_a_pool_of_a_task_that_can_not_start_is_ended_by_autokill(script):
    lines, _ = start_again(
        script,
        "defer(start_a_pool_that_starts_them_for_ever, 'spawn')",
        "exist_ok=True",
        autokill=2,
    )
    assert ["TimeoutExpired" in line for line in lines] == [False, True, True, False]
    assert not processes_of(script.directory, "environ")


def test_a_program_that_is_started_instead_of_python_is_started_once_a_task(script):
    """As a frozen program is, whose sys.executable is the program itself."""
    starts = script.directory / "starts"
    program = script.write(
        f"""#!/bin/sh
echo >> starts
test $(wc -l < starts) -gt 20 && exit 9
exec {sys.executable} script.py
""",
        "program",
    )
    program.chmod(0o755)
    output = script.run(f"""
import sys
from runforrest import TaskList, defer

sys.executable = {str(program)!r}
tasklist = TaskList("tasklist", exist_ok=True)
for number in range(3):
    tasklist.schedule(defer(abs, number))
for task in tasklist.run():
    print(type(task.errorvalue).__name__)
""")
    assert output.splitlines()[-3:] == ["CalledProcessError"] * 3
    assert len(starts.read_text().splitlines()) == 3


# How many, and in what order ----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"), [("", 4), ("nprocesses=2", 2), ("nprocesses=9", 9)]
)
def test_as_many_tasks_as_nprocesses_run_at_the_same_time_and_no_more(
    options, expected, script
):
    script.run(f"""
import os, time
from runforrest import TaskList, defer

def meet(number):
    open(f"here/{{number}}", "w").close()
    deadline = time.monotonic() + 30
    while len(os.listdir("here")) < {expected} and time.monotonic() < deadline:
        time.sleep(0.01)
    with open("journal", "a") as journal:
        print("+", file=journal, flush=True)
        time.sleep(0.1)
        print("-", file=journal, flush=True)

os.mkdir("here")
tasklist = TaskList("tasklist")
for number in range(2 * {expected}):
    tasklist.schedule(defer(meet, number))
list(tasklist.run({options}))
""")
    journal = (script.directory / "journal").read_text().split()
    running = [journal[:n].count("+") - journal[:n].count("-") for n in range(40)]
    assert max(running) <= expected
    assert len(journal) == 4 * expected


def test_tasks_start_in_the_order_of_scheduling(tasklist, directory):
    schedule(tasklist, *[defer(abs, number) for number in range(8)])
    list(tasklist.run(nprocesses=2))
    lines = directory.with_name("log").read_text().splitlines()
    log = [line.split()[1:] for line in lines]
    scheduled = [name for name, event in log if event == "schedule"]
    assert scheduled == sorted(scheduled)
    # Two that start at the same time may swap their lines, but no others.
    started = [name for name, event in log if event == "start"]
    places = [started.index(name) for name in scheduled]
    assert all(abs(place - order) <= 1 for order, place in enumerate(places))


def test_a_slow_consumer_leaves_no_slot_idle(tasklist, tmp_path):
    for number in range(6):
        schedule(tasklist, defer(os.mkdir, tmp_path / f"ran {number}"))
    for _ in tasklist.run(nprocesses=2):
        wait_for(lambda: len(list(tmp_path.glob("ran *"))) == 6)
    assert len(list(tasklist.done_tasks())) == 6


def test_a_finished_task_is_yielded_while_others_are_running(tasklist, tmp_path):
    os.mkfifo(tmp_path / "gate")
    schedule(tasklist, defer(open, tmp_path / "gate", "rb").close(), defer(abs, -1))
    run = iter(tasklist.run(nprocesses=2))
    assert next(run).returnvalue == 1
    (tmp_path / "gate").open("wb").close()
    assert next(run).errorvalue is None


def test_tqdm_knows_the_total(tasklist, capsys):
    tqdm = pytest.importorskip("tqdm")
    schedule(tasklist, defer(abs, -1), defer(abs, -2), defer(abs, -3))
    bar = tqdm.tqdm(tasklist.run())
    assert bar.total == 3
    assert sorted(task.returnvalue for task in bar) == [1, 2, 3]
    assert "3/3" in capsys.readouterr().err


# Leave the loop -----------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["break", "raise", "close", "forget"])
def test_to_leave_the_loop_kills_what_is_running_and_keeps_it_in_todo(
    leave, tasklist, directory
):
    schedule(tasklist, defer(abs, -1), *[defer(time.sleep, 600)] * 3)
    run, error = iter(tasklist.run(nprocesses=2)), KeyError("mine")
    with suppress(KeyError) if leave != "raise" else pytest.raises(KeyError) as caught:
        for task in run:
            assert task.returnvalue == 1
            wait_for(lambda: len(processes_of(directory)) == 2)
            if leave == "raise":
                raise error
            break
    assert leave != "raise" or caught.value is error
    if leave == "close":
        run.close()
    del run
    assert not processes_of(directory)
    assert counts(directory) == [3, 1, 0]


FORKED = """
import os, signal, time, multiprocessing
from pathlib import Path
from runforrest import TaskList, defer

def oversleep(number):
    Path(f"asleep{number}").touch()
    time.sleep(30)

def fork():
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    return child

def fork_with_multiprocessing():
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=[30])
    worker.start()
    return worker.pid

tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for number in range(8):
    tasklist.schedule(defer(oversleep, number))
"""


@pytest.mark.parametrize("fork", ["fork", "fork_with_multiprocessing"])
def test_a_loop_is_left_at_once_and_files_no_failure_though_a_fork_goes_on(
    fork, system, script
):
    output = script.run(f"""{FORKED}
for task in tasklist.run(nprocesses=8):
    while len(list(Path().glob("asleep*"))) < 8:
        time.sleep(0.01)
    child = {fork}()
    started = time.monotonic()
    break
print(time.monotonic() - started < 5, len(list(tasklist.todo_tasks())))
os.kill(child, signal.SIGKILL)
""")
    assert output == "True 8\n"
    assert counts(script.directory / "tasklist") == [8, 1, 0]


def test_the_module_may_be_in_a_directory_with_a_colon(script, tmp_path):
    """PYTHONPATH can't hold it, so its processes start the file itself."""
    (tmp_path / "at 12:30").mkdir()
    shutil.copy(MODULE_DIRECTORY / "runforrest.py", tmp_path / "at 12:30")
    source = """
import runforrest

def look():
    import runforrest
    return runforrest.__file__

tasklist = runforrest.TaskList("tasklist")
tasklist.schedule(runforrest.defer(look))
for task in tasklist.run():
    print(task.returnvalue == runforrest.__file__, task.errorvalue)
"""
    assert script.run(source, name="at 12:30/script.py") == "True None\n"


@pytest.mark.parametrize("keep", ["", "sys.kept = run"])
def test_a_run_that_outlives_its_loop_does_not_keep_the_script_alive(keep, script):
    process = script.start(f"""
import sys, time
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for _ in range(3):
    tasklist.schedule(defer(time.sleep, 1000))
run = iter(tasklist.run(nprocesses=2))
print(next(run).returnvalue)
{keep}
""")
    assert process.communicate(timeout=30) == ("1\n", "")
    assert not processes_of(script.directory / "tasklist")
    assert counts(script.directory / "tasklist") == [3, 1, 0]


def test_a_task_whose_runner_is_gone_before_it_begins_is_not_run(
    tasklist, directory, system
):
    schedule(tasklist, defer(time.sleep, 600))
    (todo,) = (directory / "todo").iterdir()
    watch, leash = os.pipe()
    os.close(leash)
    command = [sys.executable, "-P", "-m", "runforrest", "--leash", str(watch), ""]
    command += [todo, f"{todo}.done", "", "", "", f"{todo}.fail"]
    process = subprocess.run(
        command, pass_fds=[watch], start_new_session=True, timeout=60, check=False
    )
    os.close(watch)
    assert process.returncode != 0
    assert [path.name for path in (directory / "todo").iterdir()] == [todo.name]


def test_results_that_are_taken_away_while_others_run_do_not_end_the_loop(tasklist):
    schedule(tasklist, *(defer(pow, number, 2) for number in range(4)))
    found = []
    for task in tasklist.run(nprocesses=1):
        found.append(task.returnvalue)
        tasklist.clean(clean_todo=False, clean_fail=False)
    assert found == [0, 1, 4, 9]


# Tell the errors ----------------------------------------------------------------------


@pytest.mark.parametrize("print_errors", [True, False])
def test_print_errors_prints_the_full_stack_trace(print_errors, script):
    script.write("def inner(x):\n    return 1 // x\n", "beside.py")
    script.run_tasks(
        """
import beside

def outer(): return beside.inner(0)
""",
        "defer(outer)",
        "defer(abs, -1)",
        run=f"print_errors={print_errors}",
    )
    log = (script.directory / "log").read_text()
    assert log.count("Traceback (most recent call last):\n") == print_errors
    for part in ("in outer", "in inner", "return 1 // x", "ZeroDivisionError"):
        assert log.count(part) == print_errors


NOTES = """
from runforrest import TaskList, defer

numbers, file = (n for n in range(3)), open("results.txt", "a")
print("precious", file=file, flush=True)

def use(): return next(numbers)
def write(): return file.write("more")
def use_unseen(): return eval("next(numbers)")
def fail_otherwise(): return "numbers" in globals() or {}["numbers"]

class Numbers:
    some = (n for n in range(3))
    def first(self):
        return next(self.some)
"""


@pytest.mark.parametrize(
    ("task", "session", "error", "reason"),
    [
        ("defer(use)", False, "NameError", "numbers .*generator"),
        ("defer(use)", True, "NameError", "numbers .*generator"),
        ("defer(use_unseen)", True, "NameError", "numbers .*generator"),
        ("defer(write)", False, "NameError", "file .*results.txt.*open for writing"),
        ("defer(str, Numbers())", False, "AttributeError", "Numbers .*generator"),
        ("defer(Numbers.first, 1)", False, "AttributeError", "Numbers .*generator"),
    ],
)
def test_the_error_tells_why_a_name_did_not_come_along(
    task, session, error, reason, script
):
    output = script.run(f"""{NOTES}
tasklist = TaskList("tasklist")
tasklist.schedule({task})
for task in tasklist.run(save_session={session}):
    print(type(task.errorvalue).__name__, task.errorvalue, *task.errorvalue.__notes__)
""")
    assert output.startswith(f"{error} ")
    assert re.search(reason.replace(" ", " did not come along: TypeError", 1), output)
    assert (script.directory / "results.txt").read_text() == "precious\n"


def test_an_error_of_another_kind_is_not_explained_by_what_did_not_come_along(script):
    output = script.run(f"""{NOTES}
tasklist = TaskList("tasklist")
tasklist.schedule(defer(fail_otherwise))
for task in tasklist.run(save_session=True):
    print(task.errorvalue, *task.errorvalue.__notes__)
""")
    assert "KeyError: 'numbers'" in output
    assert "did not come along" not in output


# Send the session, and what a function uses -------------------------------------------

HIDDEN_NAMES = """
import enum, sqlite3, threading
from multiprocessing.pool import ThreadPool
from runforrest import TaskList, defer

class Colour(enum.Enum):
    RED = 1

def double(number): return 2 * number

number = 42
not_sent = (n for n in "ab"), ThreadPool(1), sqlite3.connect(":memory:")
not_sent_either = threading.local()
tasklist = TaskList("tasklist")
for text in "number", "double(number)", "Colour.RED.name", "'__file__' in globals()":
    tasklist.schedule(defer(lambda text: eval(text), text))
number = 21  # as it is when the run is made
for task in tasklist.run(nprocesses=1, save_session={}):
    print(task.returnvalue, type(task.errorvalue).__name__)
"""


@pytest.mark.parametrize(
    ("save_session", "found"),
    [
        (True, ["21 NoneType", "42 NoneType", "RED NoneType", "False NoneType"]),
        (False, ["None NameError"] * 3 + ["False NoneType"]),
    ],
)
def test_save_session_sends_the_names_that_only_their_text_tells(
    save_session, found, script
):
    assert script.run(HIDDEN_NAMES.format(save_session)).splitlines() == found


def test_locks_arrive_free_though_the_script_holds_them(script):
    output = script.run_tasks(
        """
import threading
lock, rlock = threading.Lock(), threading.RLock()
lock.acquire(), rlock.acquire()

def use():
    with lock, rlock:
        return "used"
""",
        "defer(use)",
        run="autokill=30",
    )
    assert output == "used None\n"


def test_what_is_open_for_writing_can_not_be_an_argument(tasklist, directory, tmp_path):
    path = tmp_path / "file"
    with path.open("w") as file, gzip.open(tmp_path / "file.gz", "wb") as packed:
        file.write("precious")
        file.flush()
        for argument in file, packed:
            with pytest.raises(TypeError, match="open for writing"):
                tasklist.schedule(defer(id, argument))
    assert counts(directory) == [0, 0, 0]
    assert path.read_text() == "precious"


def test_a_memory_map_is_sent_like_an_array(script):
    pytest.importorskip("numpy")
    output = script.run_tasks(
        """
import numpy
mapped = numpy.memmap("file", mode="w+", shape=3)
mapped[:] = 1, 2, 3

def change(array):
    array += 1
    return array.sum()
""",
        "defer(change, mapped)",
        "defer(lambda: change(mapped))",
    )
    assert re.fullmatch(r"(\w+\()?9\)? None\n" * 2, output)
    assert (script.directory / "file").read_bytes() == b"\1\2\3"


def test_what_is_still_open_is_written_to_its_end_when_its_task_ends(script):
    """C and Fortran close files as the last step; compressed ones need their module."""
    output = script.run_tasks(
        """
import ctypes, zipfile

def write():
    global archive
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    c.fputs(b"kept", ctypes.c_void_p(c.fopen(b"file", b"w")))
    archive = zipfile.ZipFile("file.zip", "w")
    archive.writestr("name", "kept")
""",
        "defer(write)",
    )
    assert output == "None None\n"
    assert (script.directory / "file").read_text() == "kept"
    assert zipfile.ZipFile(script.directory / "file.zip").read("name") == b"kept"


def test_what_a_task_printed_before_it_was_killed_is_in_the_log(script, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    script.run_tasks(
        """
import os

def die():
    print("last words")
    os.kill(os.getpid(), 9)
""",
        "defer(die)",
    )
    assert "last words\n" in (script.directory / "log").read_text()


def test_the_module_is_found_from_a_working_directory_that_does_not_have_it(script):
    """As in a notebook, where the module was found in the working directory of then."""
    (script.directory / "runforrest.py").symlink_to(runforrest.__file__)
    (script.directory / "below").mkdir()
    output = script.run("""
import os
from pathlib import Path
import sys

def has_it(path): return (Path(path) / "runforrest.py").exists()

sys.path[:] = ["", *(path for path in sys.path if not has_it(path))]
from runforrest import TaskList, defer

os.chdir("below")
tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "1 None\n"


# Kill what takes too long -------------------------------------------------------------


def test_autokill_counts_from_the_start_of_each_task(tasklist):
    schedule(tasklist, *[defer(time.sleep, 0.4)] * 4)
    finished = list(tasklist.run(nprocesses=1, autokill=1.3))
    assert [task.errorvalue for task in finished] == [None] * 4


# Runners that die, and runners that meet ----------------------------------------------


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


def test_a_list_that_schedules_nothing_goes_on_where_it_was_killed(script):
    source = """
import os, signal, sys
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", noschedule_if_exist=True)
for name in "abcdef":
    tasklist.schedule(defer(os.mkdir, name), metadata=name)
for task in tasklist.run(nprocesses=1):
    print(task.metadata, task.errorvalue, flush=True)
    if task.metadata == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    output = script.run(source, "b", check=False)
    assert output == "a None\nb None\n"
    *_, last = script.run(source, "").splitlines()
    assert last == "f None"
    assert counts(script.directory / "tasklist") == [0, 6, 0]


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


# Run elsewhere ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_an_executor_runs_the_tasks(kind, script):
    output = script.run_tasks(
        f"""
from concurrent.futures import {kind}

def divide(number): return 1 / number

if __name__ == "__main__":
    executor = {kind}(1)
""",
        *[f"defer(divide, {number})" for number in range(3)],
        run="executor=executor",
    )
    assert sorted(output.splitlines()) == [
        "0.5 None",
        "1.0 None",
        "None ZeroDivisionError('division by zero')",
    ]
    assert counts(script.directory / "tasklist") == [0, 2, 1]


def test_an_executor_waits_for_what_another_runs_and_else_it_is_left_at_once(
    tasklist, directory
):
    schedule(tasklist, defer(abs, -1), defer(abs, -2))
    path = min((directory / "todo").iterdir())
    with path.open("r+b") as claimed, ThreadPoolExecutor(2) as executor:
        fcntl.flock(claimed, fcntl.LOCK_EX)
        assert [task.returnvalue for task in tasklist.run()] == [2]
        schedule(tasklist, defer(abs, -3))
        run = iter(tasklist.run(executor=executor))
        assert next(run).returnvalue == 3
        claimed.close()
        assert [task.returnvalue for task in run] == [1]


def test_to_leave_the_loop_keeps_what_an_executor_has_not_started(
    tasklist, directory, tmp_path
):
    for name in "abcdef":
        schedule(tasklist, defer(os.mkdir, tmp_path / name))
    with ThreadPoolExecutor(1) as executor:
        for task in tasklist.run(executor=executor):
            assert task.errorvalue is None
            break
    assert counts(directory)[0] >= 2
    assert len(list(tasklist.run())) >= 2
    assert counts(directory) == [0, 6, 0]


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
    [{"nprocesses": wrong} for wrong in (0, -1, "4", 1.5, None)]
    + [{"autokill": wrong} for wrong in (0, -1, "1", float("nan"))],
    ids=str,
)
def test_a_wrong_argument_is_an_error_before_anything_is_touched(
    arguments, tasklist, directory
):
    schedule(tasklist, defer(abs, -1))
    (name,) = arguments
    with pytest.raises(
        (TypeError, ValueError), match=f"{name}|as an integer|not supported"
    ):
        tasklist.run(**arguments, save_session=True)
    assert counts(directory) == [1, 0, 0]
    (task,) = tasklist.run()
    assert task.returnvalue == 1
