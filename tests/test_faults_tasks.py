"""Faults of the tasks and of the user: what goes wrong is told, and nothing is lost."""

import gc
import importlib.util
import json
import os
import shutil
import sys

import dill
import pytest
from conftest import MODULE_DIRECTORY, Script

from runforrest import TaskList, defer

STATES = "todo", "done", "fail"


def need(condition, reason):
    """Skip a test that is impossible here, unless everything has to be possible."""
    if not condition:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def need_linux():
    need(sys.platform == "linux", "this needs Linux")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "tasklist"


@pytest.fixture
def tasklist(directory):
    return TaskList(directory, logfile=directory.with_name("log"))


def contents(directory):
    """What is in all files, directories, links and pipes below a directory."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(directory)] = path.readlink()
        elif path.is_file():
            found[path.relative_to(directory)] = path.read_bytes()
        else:
            found[path.relative_to(directory)] = path.stat().st_mode
    return found


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


# Tasks that end in all ways -----------------------------------------------------------

RECORD = """
import json

def record(tasks):
    outcomes = {}
    for task in tasks:
        value, error = task.returnvalue, task.errorvalue
        outcome = outcomes.setdefault(task.metadata, {"times": 0})
        outcome["times"] += 1
        outcome["value"] = value
        outcome["error"] = error and type(error).__name__
        outcome["text"] = str(error)
        outcome["notes"] = "".join(getattr(error, "__notes__", []))
    return outcomes
"""

FAULTY_TASKS = (
    RECORD
    + """
import collections
import ctypes
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from runforrest import TaskList, defer

def exit_silently():
    sys.exit()

def exit_with_a_code():
    sys.exit(3)

def interrupt():
    raise KeyboardInterrupt

def close_a_generator():
    raise GeneratorExit

def exit_at_once():
    os._exit(0)

def exit_at_once_with_a_code():
    os._exit(3)

def segfault():
    ctypes.string_at(0)

def abort():
    os.abort()

def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)

def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (500_000_000, 500_000_000))

def fill_memory_with_big_things():
    limit_memory()
    chunks = []
    while True:
        chunks.append(bytearray(1_000_000))

def fill_memory_to_the_last_byte():
    limit_memory()
    chunks = []
    for size in (10_000_000, 1_000_000, 100_000, 10_000, 1000, 100):
        try:
            while True:
                chunks.append(bytearray(size))
        except MemoryError as reason:
            error = reason
    raise error

def open_files_until_there_are_too_many():
    files = []
    while True:
        files.append(open(os.devnull))

def return_more_than_fits_into_memory():
    value = ["x" * 300_000_000]
    limit_memory()
    return value

def return_a_generator():
    return (number for number in range(3))

def return_a_generator_in_a_list():
    return [1, {"a": (number for number in range(3))}]

def return_a_database():
    return sqlite3.connect(":memory:")

def return_an_endless_nest():
    nest = []
    for _ in range(100_000):
        nest = [nest]
    return nest

class Picky(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")

class Unloadable(Exception):
    def __setstate__(self, state):
        raise RuntimeError("this can not be loaded")

def raise_a_picky_error():
    raise Picky("first", "second")

def raise_an_error_that_can_not_be_loaded():
    error = Unloadable("too bad")
    error.state = "what can't be loaded"
    raise error

class Hostile:
    def refuse(self, *_):
        raise RuntimeError("leave me alone")
    __repr__ = __str__ = __eq__ = __ne__ = __bool__ = __len__ = __iter__ = refuse
    __hash__ = __format__ = __contains__ = __getitem__ = refuse

def return_something_hostile():
    return Hostile()

def return_a_list_of_something_hostile():
    return [Hostile()]

class Divisor:
    def __reduce__(self):
        return divmod, (1, 0)

def return_what_can_not_be_loaded():
    return Divisor()

def return_something_of_a_module_that_goes():
    Path("gone.py").write_text("class Thing: pass")
    import gone
    Path("gone.py").unlink()
    return gone.Thing()

def leave_a_child():
    return subprocess.Popen(["sleep", "60"]).pid

def leave_a_child_that_holds_everything_open():
    return subprocess.Popen(["sleep", "60"], close_fds=False).pid

def leave_a_child_of_a_child():
    command = ["sh", "-c", "sleep 60 & echo $!"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        return int(child.stdout.readline())

def die_and_leave_a_child():
    Path("left.pid").write_text(str(leave_a_child()))
    segfault()

def go_elsewhere():
    os.chdir("/")
    return "from elsewhere"

def delete_where_it_is():
    os.chdir(tempfile.mkdtemp(dir="."))
    os.rmdir(os.getcwd())
    return "from nowhere"

def close_all_descriptors():
    os.closerange(3, 1000)
    return "without descriptors"

def close_its_outputs_too():
    os.closerange(0, 1000)
    return "without outputs"

def clear_the_environment():
    os.environ.clear()
    return "without an environment"

def fork_and_return_twice():
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return "parent" if child else "child"

def fork_and_return_twice_at_once():
    return "parent" if os.fork() else "child"

def forget_its_path():
    sys.path.clear()
    sys.argv.clear()
    return "without a path"

def do_all_of_this():
    sys.setrecursionlimit(100)
    os.umask(0o777)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for disturb in (
        clear_the_environment,
        forget_its_path,
        delete_where_it_is,
        close_its_outputs_too,
    ):
        disturb()
    return fork_and_return_twice_at_once()

def gone(number, seconds=10):
    "Whether a process has ended, or does so within some seconds."
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ") Z" in Path(f"/proc/{number}/stat").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False

def nothing_special():
    return "as always"

ignored = [record, limit_memory, gone]
tasklist = TaskList("tasklist", logfile="log")
for name, function in list(vars().items()):
    if type(function) is type(gone) and function not in [*ignored, defer]:
        tasklist.schedule(defer(function), metadata=name)

def watch():
    for task in tasklist.run(nprocesses=3):
        left = task.returnvalue
        if task.metadata == "die_and_leave_a_child":
            left = int(Path("left.pid").read_text())
        if task.metadata in children:
            children[task.metadata] = gone(left)
        yield task

children = dict.fromkeys(name for name in vars() if "leave_a_child" in name)
result = {"yielded": record(watch()), "children gone": children}
result["todo"] = [task.metadata for task in tasklist.todo_tasks()]
result["done"] = record(tasklist.done_tasks())
result["fail"] = record(tasklist.fail_tasks())
Path("gone.py").write_text("class Thing: pass")
sys.path_importer_cache.clear()
result["done again"] = record(tasklist.done_tasks())
print(json.dumps(result, default=lambda value: type(value).__name__))
"""
)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """What became of many faulty tasks of one list: as yielded, and as listed."""
    need_linux()
    return run_for_module(FAULTY_TASKS, tmp_path_factory.mktemp("faulty"))


def run_for_module(source, directory):
    """Run a script that several tests look at, and return what it printed as JSON."""
    paths = [str(MODULE_DIRECTORY), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return json.loads(Script(directory).run(source, env=environment))


def test_each_task_is_yielded_once_and_is_in_one_list(faulty):
    assert len(faulty["yielded"]) > 30
    assert {outcome["times"] for outcome in faulty["yielded"].values()} == {1}
    assert sorted([*faulty["done"], *faulty["fail"]]) == sorted(faulty["yielded"])
    assert faulty["todo"] == []


def test_tasks_are_listed_as_they_were_yielded(faulty):
    listed = faulty["done"] | faulty["fail"]
    for name, outcome in faulty["yielded"].items():
        assert listed[name] == outcome


def test_a_good_task_is_not_harmed_by_faulty_ones(faulty):
    outcome = faulty["done"]["nothing_special"]
    assert (outcome["value"], outcome["error"]) == ("as always", None)


def assert_failed(name, faulty, error, *texts):
    """A task is in fail, and its error tells the true cause in its text or notes."""
    outcome = faulty["fail"][name]
    assert (outcome["value"], outcome["error"]) == (None, error)
    for text in texts:
        assert text in outcome["text"] + outcome["notes"]


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("exit_silently", "SystemExit"),
        ("exit_with_a_code", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("close_a_generator", "GeneratorExit"),
    ],
)
def test_a_task_that_exits_or_is_interrupted_has_failed(function, error, faulty):
    assert_failed(function, faulty, error, f"in {function}")


def test_a_task_that_ends_its_process_has_ended_without_a_result(faulty):
    assert_failed("exit_at_once", faulty, "SubprocessError", "ended without a result")


def test_a_task_that_ends_its_process_with_a_code_tells_it(faulty):
    assert_failed(
        "exit_at_once_with_a_code", faulty, "CalledProcessError", "exit status 3"
    )


@pytest.mark.parametrize(
    ("function", "name"),
    [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("kill_itself", "SIGKILL")],
)
def test_the_error_of_a_task_that_crashes_names_the_signal(function, name, faulty):
    assert_failed(function, faulty, "CalledProcessError", name)


@pytest.mark.parametrize(
    "function", ["fill_memory_with_big_things", "return_more_than_fits_into_memory"]
)
def test_a_task_that_needs_too_much_memory_has_failed(function, faulty):
    assert_failed(function, faulty, "MemoryError")


def test_a_task_that_leaves_no_memory_for_telling_so_has_failed(faulty):
    assert_failed("fill_memory_to_the_last_byte", faulty, "MemoryError")


def test_a_task_that_leaves_no_descriptor_for_telling_so_has_failed(faulty):
    name = "open_files_until_there_are_too_many"
    assert_failed(name, faulty, "OSError", "Too many open files: '/dev/null'")


def test_an_array_that_does_not_fit_into_memory_is_a_failure(script):
    need_linux()
    need(importlib.util.find_spec("numpy"), "this needs numpy")
    output = script.run("""
import resource
import numpy
from runforrest import TaskList, defer

def allocate():
    numpy.zeros(1)
    resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
    return numpy.ones(1_000_000_000)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(allocate))
for task in tasklist.run():
    print(isinstance(task.errorvalue, MemoryError), task.errorvalue)
print(tasklist)
""")
    assert output.startswith("True Unable to allocate 7.45 GiB")
    assert output.endswith("todo=0, done=0, fail=1)\n")


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        ("return_a_generator", "generator"),
        ("return_a_generator_in_a_list", "generator"),
        ("return_a_database", "sqlite3.Connection"),
    ],
)
def test_a_result_that_can_not_be_pickled_is_a_failure(function, cause, faulty):
    assert_failed(function, faulty, "TypeError", "pickle", cause)


def test_a_result_that_is_nested_too_deep_is_a_failure(faulty):
    assert_failed("return_an_endless_nest", faulty, "RecursionError")


def test_an_error_that_takes_other_arguments_than_it_keeps_comes_back(faulty):
    assert_failed(
        "raise_a_picky_error",
        faulty,
        "Picky",
        "first and second",
        "in raise_a_picky_error",
    )


def test_an_error_that_can_not_be_loaded_is_told_by_its_type_and_text(faulty):
    name = "raise_an_error_that_can_not_be_loaded"
    assert_failed(
        name, faulty, "RuntimeError", "Unloadable: too bad", f"in {name}", "raise"
    )


def test_an_error_that_can_not_be_printed_is_yielded_and_listed(script):
    output = script.run("""
from runforrest import TaskList, defer

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("this can not be printed")
    __repr__ = __str__

def fail():
    raise Unprintable("too bad")

tasklist = TaskList("tasklist")
tasklist.schedule(defer(fail))
for task in [*tasklist.run(), *tasklist.fail_tasks()]:
    print(type(task.errorvalue).__name__, task.errorvalue.args)
    print("in fail" in "".join(task.errorvalue.__notes__))
""")
    assert output == "Unprintable ('too bad',)\nTrue\n" * 2


def test_a_value_that_refuses_everything_is_a_result_like_others(faulty):
    done = faulty["done"]
    assert done["return_something_hostile"]["value"] == "Hostile"
    assert done["return_a_list_of_something_hostile"]["value"] == ["Hostile"]


def test_a_result_that_can_not_be_loaded_is_yielded_with_the_reason(faulty):
    outcome = faulty["done"]["return_what_can_not_be_loaded"]
    assert (outcome["value"], outcome["error"]) == (None, "ZeroDivisionError")


def test_a_result_whose_module_is_gone_is_kept_until_it_is_back(faulty):
    name = "return_something_of_a_module_that_goes"
    outcome = faulty["yielded"][name]
    assert (outcome["value"], outcome["error"]) == (None, "ModuleNotFoundError")
    assert "'gone'" in outcome["text"]
    again = faulty["done again"][name]
    assert (again["value"], again["error"]) == ("Thing", None)


@pytest.mark.parametrize(
    "function",
    [
        "leave_a_child",
        "leave_a_child_that_holds_everything_open",
        "leave_a_child_of_a_child",
        "die_and_leave_a_child",
    ],
)
def test_what_a_task_leaves_running_is_gone_when_the_task_is_done(function, faulty):
    assert faulty["children gone"][function] is True


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("go_elsewhere", "from elsewhere"),
        ("delete_where_it_is", "from nowhere"),
        ("close_all_descriptors", "without descriptors"),
        ("close_its_outputs_too", "without outputs"),
        ("clear_the_environment", "without an environment"),
        ("fork_and_return_twice", "parent"),
        ("fork_and_return_twice_at_once", "parent"),
        ("forget_its_path", "without a path"),
        ("do_all_of_this", "parent"),
    ],
)
def test_a_task_that_disturbs_its_process_has_its_own_result(function, value, faulty):
    outcome = faulty["done"][function]
    assert (outcome["value"], outcome["error"]) == (value, None)


# Tasks that do not end ----------------------------------------------------------------

LATE_TASKS = (
    RECORD
    + """
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path
from runforrest import TaskList, defer

SECONDS = 45  # are forever, but not for a test that fails

def sleep_forever():
    time.sleep(SECONDS)

def compute_forever():
    while time.process_time() < SECONDS:
        pass

def ignore_all_signals():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    time.sleep(SECONDS)

def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)

def sleep_in_c_and_let_no_thread_run():
    ctypes.PyDLL(None).sleep(SECONDS)

def sleep_with_children():
    command = f"trap '' TERM; sleep {SECONDS} & sleep {SECONDS} & wait"
    subprocess.run(command, shell=True)

def fork_forever():
    os.fork()
    os.fork()
    time.sleep(SECONDS)

def start(function):
    Path(f"{function.__name__}.pid").write_text(str(os.getpid()))
    function()

def still_running(group):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if state != "Z" and int(of_group) == group:
            found.append(path)
    return found

def empty(name, seconds=10):
    group = int(Path(f"{name}.pid").read_text())
    deadline = time.monotonic() + seconds
    while still_running(group) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not still_running(group)

late = [sleep_forever, compute_forever, ignore_all_signals, stop_itself]
late += [sleep_in_c_and_let_no_thread_run, sleep_with_children, fork_forever]
tasklist = TaskList("tasklist")
for function in late:
    tasklist.schedule(defer(start, function), metadata=function.__name__)
tasklist.schedule(defer(abs, -1), metadata="in time")

def watch():
    for task in tasklist.run(nprocesses=len(late), autokill=3):
        if task.metadata != "in time" and empty(task.metadata):
            result["empty"].append(task.metadata)
        yield task

result = {"empty": []}
result["yielded"] = record(watch())
try:
    result["zombie"] = os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    result["zombie"] = None
print(json.dumps(result))
"""
)


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """What became of tasks that did not end, while their runner went on."""
    need_linux()
    return run_for_module(LATE_TASKS, tmp_path_factory.mktemp("late"))


@pytest.mark.parametrize(
    "function",
    [
        "sleep_forever",
        "compute_forever",
        "ignore_all_signals",
        "stop_itself",
        "sleep_in_c_and_let_no_thread_run",
        "sleep_with_children",
        "fork_forever",
    ],
)
def test_autokill_ends_whatever_takes_too_long_and_all_its_processes(function, late):
    outcome = late["yielded"][function]
    assert (outcome["times"], outcome["error"]) == (1, "TimeoutExpired")
    assert "timed out after 3 seconds" in outcome["text"]
    assert function in late["empty"]


def test_autokill_leaves_no_zombie_and_no_mark_on_tasks_in_time(late):
    assert late["zombie"] in (None, [0, 0])  # or multiprocessing has a process running
    assert late["yielded"]["in time"]["value"] == 1
    assert late["yielded"]["in time"]["error"] is None


# Output that nobody reads -------------------------------------------------------------


def test_ten_megabytes_of_output_are_in_the_log_to_the_last_line(script):
    script.run("""
import sys
from runforrest import TaskList, defer

def talk(stream):
    for number in range(100_000):
        print(f"{number:049}", file=getattr(sys, stream))

tasklist = TaskList("tasklist", logfile="log")
tasklist.schedule(defer(talk, "stdout"))
tasklist.schedule(defer(talk, "stderr"))
for task in tasklist.run(nprocesses=1, autokill=60):
    assert task.errorvalue is None, task.errorvalue
""")
    log = (script.directory / "log").read_text().splitlines()
    numbers = [int(line) for line in log if line.isdigit()]
    assert numbers == 2 * [*range(100_000)]


@pytest.mark.parametrize("logfile", [None, "log"])
def test_a_grandchild_that_holds_the_output_open_keeps_nobody_waiting(logfile, script):
    output = script.run(
        f"""
import subprocess
import sys
from runforrest import TaskList, defer

def speak_through_a_child():
    command = "echo spoken; sleep 60 & echo unfinished"
    subprocess.run(["sh", "-c", command])
    return "returned"

tasklist = TaskList("tasklist", logfile={logfile!r})
tasklist.schedule(defer(speak_through_a_child))
for task in tasklist.run(autokill=60):
    print(task.returnvalue, task.errorvalue)
""",
        timeout=30,
    )
    said = (script.directory / "log").read_text() if logfile else output
    assert {"spoken", "unfinished"} < {*said.split()}
    assert "returned None" in output


# Results and errors that only a script can make ---------------------------------------


@pytest.mark.parametrize("end", ["os._exit(9)", "ctypes.string_at(0)", "1 / 0"])
def test_an_old_result_is_kept_and_not_yielded_when_its_task_fails_now(end, script):
    output = script.run(f"""
import ctypes
import os
import shutil
from pathlib import Path
from runforrest import TaskList, defer

def work():
    if Path("worse").exists():
        {end}
    return "old result"

tasklist = TaskList("tasklist")
tasklist.schedule(defer(work))
for copy in (shutil.copy, shutil.copy2):
    for task in tasklist.run():
        print(task.returnvalue)
    (path,) = Path("tasklist/done").iterdir()
    content = path.read_bytes()
    copy(path, "tasklist/todo")
    Path("worse").touch()
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue is None)
kept = [task.returnvalue for task in tasklist.done_tasks()]
print(path.read_bytes() == content, kept)
print(tasklist)
""")
    first, *others, kept, tasklist = output.splitlines()
    assert (first, others) == ("old result", ["None", "None False"])
    assert kept == "True ['old result']"
    assert tasklist.endswith("todo=0, done=1, fail=1)")


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_old_result_is_not_yielded_wherever_its_copy_is_on_the_disk(
    place, tasklist, directory
):
    (directory / "before").touch()
    tasklist.schedule(defer(os.mkdir, directory / "new"))
    (directory / "after").touch()
    assert [task.errorvalue for task in tasklist.run()] == [None]
    (old,) = (directory / "done").iterdir()
    (directory / place).write_bytes(old.read_bytes())
    (directory / place).rename(directory / "todo" / old.name)
    assert [type(task.errorvalue) for task in tasklist.run()] == [FileExistsError]


def test_an_old_result_is_not_yielded_because_its_file_was_touched(tasklist, directory):
    tasklist.schedule(defer(os.mkdir, directory / "new"))
    assert [task.errorvalue for task in tasklist.run()] == [None]
    (old,) = (directory / "done").iterdir()
    copy = directory / "todo" / old.name
    copy.write_bytes(old.read_bytes())
    while old.stat().st_ctime_ns <= copy.stat().st_ctime_ns:
        old.chmod(0o640)  # as when the directory is given to somebody else, or copied
    assert [type(task.errorvalue) for task in tasklist.run()] == [FileExistsError]
    assert old.exists()


def test_an_old_failure_is_not_yielded_because_its_directory_was_copied(
    tasklist, directory
):
    tasklist.schedule(defer(os.rmdir, directory / "missing"))
    assert [type(t.errorvalue) for t in tasklist.run()] == [FileNotFoundError]
    (failed,) = (directory / "fail").iterdir()
    shutil.copy(failed, directory / "todo")
    content = failed.read_bytes()
    failed.unlink()
    failed.write_bytes(content)  # it is copied after that in todo, and is newer
    (directory / "missing").mkdir()
    assert [task.errorvalue for task in tasklist.run()] == [None]
    assert [names_in(directory / state) for state in STATES] == [[], [failed.name], []]


def test_a_new_result_is_found_though_old_ones_are_removed_meanwhile(script):
    output = script.run("""
import os
import shutil
import time
from pathlib import Path
from runforrest import TaskList, defer

def work():
    while not os.path.exists("go"):
        time.sleep(0.001)
    return 42

tasklist, go, done = TaskList("tasklist"), Path("go"), Path("tasklist/done")
tasklist.schedule(defer(work))
for _ in range(5):
    tasklist.schedule(defer(abs, -1))
go.touch()
print(sorted(task.returnvalue for task in tasklist.run()))
go.unlink()
for path in done.iterdir():
    shutil.copy(path, "tasklist/todo")
results = iter(tasklist.run(nprocesses=6))
print([next(results).returnvalue for _ in range(5)])
for path in done.iterdir():  # so that their places on the disk are used again
    path.unlink()
go.touch()
for task in results:
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "[1, 1, 1, 1, 1, 42]\n[1, 1, 1, 1, 1]\n42 None\n"


def test_a_link_to_a_failure_runs_again_like_a_copy(tasklist, directory):
    tasklist.schedule(defer(os.rmdir, directory / "missing"))
    assert [type(t.errorvalue) for t in tasklist.run()] == [FileNotFoundError]
    (failed,) = (directory / "fail").iterdir()
    os.link(failed, directory / "todo" / failed.name)
    (directory / "missing").mkdir()
    assert [task.errorvalue for task in tasklist.run()] == [None]


def test_a_result_that_would_end_the_script_when_it_is_loaded_does_not(script):
    output = script.run("""
import sys
from runforrest import TaskList, defer

class Exit:
    def __reduce__(self):
        return sys.exit, ("end of the script",)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(Exit))
tasklist.schedule(defer(abs, -1))
for task in tasklist.run(nprocesses=1):
    print(task.returnvalue, type(task.errorvalue).__name__)
""")
    assert output == "None SystemExit\n1 NoneType\n"


class Hostile:
    """Refuses everything that a library might do to an argument without need."""

    def refuse(self, *_):
        raise RuntimeError("leave me alone")

    __repr__ = __str__ = __eq__ = __ne__ = __bool__ = __len__ = __iter__ = refuse
    __hash__ = __format__ = __contains__ = __getitem__ = refuse


class HostileAndUnpicklable(Hostile):
    def __reduce__(self):
        raise TypeError("this can not be pickled")


def test_arguments_and_metadata_may_refuse_everything_but_to_be_pickled(tasklist):
    tasklist.schedule(defer(type, Hostile()), metadata=Hostile())
    (task,) = tasklist.run()
    assert (task.returnvalue, task.errorvalue) == (Hostile, None)
    assert type(task.metadata) is Hostile


def test_an_argument_that_can_not_be_pickled_nor_printed_is_told_by_the_cause(tasklist):
    with pytest.raises(TypeError, match="this can not be pickled"):
        tasklist.schedule(defer(abs, HostileAndUnpicklable()))
    assert list(tasklist.todo_tasks()) == []


# Task files that are damaged, taken away or not task files at all ---------------------


def damaged(content):
    """All that may be left of a file, with a name: shorter, longer and changed."""
    for length in range(len(content)):
        yield f"cut after {length:04} bytes.pkl", content[:length]
        flipped = bytes([content[length] ^ 1 << length % 8])
        changed = content[:length] + flipped + content[length + 1 :]
        yield f"flipped in byte {length:04}.pkl", changed
    yield "too long.pkl", content + b"\n"
    yield "twice.pkl", content + content
    yield "zeros.pkl", bytes(len(content))
    yield "zeros at the end.pkl", content[:-8] + bytes(8)
    yield "another file.pkl", dill.dumps("this is not a task")


@pytest.fixture
def damage(tasklist, directory, monkeypatch):
    """Schedule three good tasks, and put a directory full of damaged ones beside."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [])  # which would make the files longer
        for number in (-1, -2, -3):
            tasklist.schedule(defer(abs, number))
    content = next((directory / "todo").iterdir()).read_bytes()
    return dict(damaged(content))


def test_files_cut_anywhere_and_flipped_anywhere_are_listed_with_the_reason(
    damage, tasklist, directory
):
    for state in STATES:
        for name, content in damage.items():
            (directory / state / name).write_bytes(content)
        tasks = list(getattr(tasklist, f"{state}_tasks")())
        bad = [task for task in tasks if task.metadata is None and task.runtime is None]
        errors = [str(task.errorvalue) for task in bad if hasattr(task, "errorvalue")]
        assert len(errors) == len(damage)
        assert all("is damaged" in text and ".pkl" in text for text in errors)


def test_files_cut_anywhere_are_kept_in_fail_and_the_others_run(
    damage, tasklist, directory
):
    damage = {n: c for n, c in damage.items() if not n.startswith("flipped")}
    for name, content in damage.items():
        (directory / "todo" / name).write_bytes(content)
    tasks = list(tasklist.run(nprocesses=2))
    good = [task.returnvalue for task in tasks if task.errorvalue is None]
    bad = [str(task.errorvalue) for task in tasks if task.errorvalue is not None]
    assert sorted(good) == [1, 2, 3]
    assert len(bad) == len(damage) > 250
    assert all("damaged" in text for text in bad)
    assert sorted(damage) == names_in(directory / "fail")
    for name, content in damage.items():
        assert (directory / "fail" / name).read_bytes() == content
    assert names_in(directory / "todo") == []


def test_files_flipped_in_some_bytes_are_kept_in_fail_and_the_others_run(
    damage, tasklist, directory
):
    flipped = [name for name in damage if name.startswith("flipped")]
    chosen = {name: damage[name] for name in [*flipped[::7], *flipped[-12:]]}
    for name, content in chosen.items():
        (directory / "todo" / name).write_bytes(content)
    errors = [task.errorvalue for task in tasklist.run(nprocesses=2)]
    assert errors.count(None) == 3
    assert len(errors) == len(chosen) + 3
    assert sorted(chosen) == names_in(directory / "fail")
    for name, content in chosen.items():
        assert (directory / "fail" / name).read_bytes() == content


def leave_stray_files(directory):
    for state in STATES:
        place = directory / state
        for name in (".DS_Store", "notes.txt", ".hidden.pkl", "x.pkl~", "x.pkl.bak"):
            (place / name).write_text("not a task")
        (place / "directory.pkl").mkdir()
        (place / "directory.pkl" / "inside.pkl").write_text("not a task")
        (place / "dangling.pkl").symlink_to("nowhere")
        (place / "circle.pkl").symlink_to("circle.pkl")
        os.mkfifo(place / "pipe.pkl")


def test_what_is_no_task_file_is_ignored_and_stays(tasklist, directory):
    leave_stray_files(directory)
    stray = contents(directory)
    tasklist.schedule(defer(abs, -1))
    assert len(list(tasklist.todo_tasks())) == 1
    run = tasklist.run()
    assert len(run) == 1
    assert [task.returnvalue for task in run] == [1]
    assert [task.returnvalue for task in tasklist.done_tasks()] == [1]
    assert list(tasklist.fail_tasks()) == []
    after = contents(directory)
    assert {path: after.get(path) for path in stray} == stray


TAKE_AWAY = """
import os
import shutil
from pathlib import Path
from runforrest import TaskList, defer

def take_away(how):
    "Do something to the file of the next task, which is in the queue."
    todo = sorted(Path("tasklist/todo").glob("*.pkl"))
    disturb(how, todo[1])

def take_itself_away(how):
    disturb(how, sorted(Path("tasklist/todo").glob("*.pkl"))[0])
    return "not disturbed"

def disturb(how, path):
    if how == "delete":
        path.unlink()
    elif how == "replace":
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").rename(path)
    else:
        path.rename(Path(how) / path.name)

Path("elsewhere").mkdir()
tasklist = TaskList("tasklist")
"""


@pytest.mark.parametrize("how", ["delete", "elsewhere", "tasklist/fail"])
def test_a_run_goes_on_without_the_files_that_are_taken_out_of_the_queue(how, script):
    output = script.run(f"""{TAKE_AWAY}
tasklist.schedule(defer(take_away, {how!r}))
tasklist.schedule(defer(os.mkdir, "never made"))
tasklist.schedule(defer(abs, -1))
for task in tasklist.run(nprocesses=1):
    print(task.returnvalue, task.errorvalue)
print(len(list(Path({how!r}).glob("*.pkl"))), Path("never made").exists())
print(len(list(tasklist.done_tasks())), len(list(tasklist.todo_tasks())))
""")
    left = 0 if how == "delete" else 1
    assert output == f"None None\n1 None\n{left} False\n2 0\n"


@pytest.mark.parametrize("how", ["delete", "replace", "elsewhere", "tasklist/fail"])
def test_a_task_whose_file_is_taken_away_while_it_runs_has_its_result(how, script):
    output = script.run(f"""{TAKE_AWAY}
tasklist.schedule(defer(take_itself_away, {how!r}))
tasklist.schedule(defer(abs, -1))
for task in tasklist.run(nprocesses=1):
    print(task.returnvalue, task.errorvalue)
print([task.returnvalue for task in tasklist.done_tasks()])
print(len(list(tasklist.fail_tasks())))
""")
    assert output == "not disturbed None\n1 None\n['not disturbed', 1]\n0\n"


def test_files_that_are_taken_away_while_a_list_is_read_do_not_end_it(
    tasklist, directory
):
    for number in range(3):
        tasklist.schedule(defer(abs, number), metadata=number)
    reading = tasklist.todo_tasks()
    assert next(reading).metadata == 0
    sorted((directory / "todo").iterdir())[1].unlink()
    assert list(reading)[-1].metadata == 2


# Odd names ----------------------------------------------------------------------------


odd_names = pytest.mark.parametrize(
    "name",
    [
        "with space",
        "new\nline",
        "ünï\N{EVERGREEN TREE}",
        "a:b",
        'quote\'s "and" $HOME `x`; exit 1',
        os.fsdecode(b"not \xff unicode"),
        "-r",
    ],
    ids=["space", "newline", "unicode", "colon", "shell", "bytes", "option"],
)


@odd_names
def test_a_task_whose_file_was_renamed_is_run_under_that_name(name, directory):
    if not name.isprintable() and "\n" not in name:
        need_linux()  # as others want names to be unicode
    tasklist = TaskList(directory, logfile=directory.with_name("log"))
    for divisor in 0, 1:
        tasklist.schedule(defer(divmod, 4, divisor))
    paths = sorted((directory / "todo").iterdir())
    for number, path in enumerate(paths):
        path.rename(path.with_name(f"{name}{number}.pkl"))
    failed, done = tasklist.run(nprocesses=1)
    assert "ZeroDivisionError" in failed.errorvalue.__notes__[0]
    assert done.returnvalue == (4, 0)
    assert (directory / "fail" / f"{name}0.pkl").exists()
    assert (directory / "done" / f"{name}1.pkl").exists()


@odd_names
def test_any_directory_will_do_with_an_empty_environment(name, tmp_path):
    if not name.isprintable() and "\n" not in name:
        need_linux()  # as others want names to be unicode
    script = Script(tmp_path / name)
    script.write("def work():\n    return 'beside'\n", "beside.py")
    output = script.run(
        f"""
import sys
sys.path.insert(1, {str(MODULE_DIRECTORY)!r})
import beside
import os
from runforrest import TaskList, defer

def look():
    return sys.executable == python, sorted({{"PATH", "RUNFORREST"}} & set(os.environ))

python = sys.executable
assert look() == (True, [])
tasklist = TaskList(sys.argv[1], logfile=sys.argv[1] + " log")
tasklist.schedule(defer(beside.work))
tasklist.schedule(defer(look))
os.chdir("/")
for task in tasklist.run(nprocesses=1, autokill=60, save_session=True):
    print(task.returnvalue, task.errorvalue)
print(repr(tasklist).rpartition(", todo")[2])
""",
        name,
        env={},
    )
    assert output == "beside None\n(True, []) None\n=0, done=2, fail=0)\n"


OWN_NAMES = """
import runforrest
from runforrest import TaskList, defer

class Task:
    name = "my task"

class _Run(Task):
    pass

def main(args=None):
    return "my main"

def evaluate(task):
    return f"my evaluate of {task}"

def run_task(*args):
    return "my run_task"

_load = _write = _seal = _finish = _freeze = pickle = importlib = types = main
time, os, sys, io, fcntl, builtins, script, alive = range(8)

def use():
    functions = main(), evaluate(Task.name), run_task(), _load(), _finish(), pickle()
    return functions, _Run().name, [time, os, sys, io, fcntl, builtins, script, alive]

def hide_builtins():
    return open, print, len

expected = use()
"""


@pytest.mark.parametrize("save_session", [False, True])
def test_a_script_may_use_the_names_that_the_library_uses(save_session, script):
    output = script.run(f"""{OWN_NAMES}
tasklist = TaskList("tasklist", logfile="log")
for _ in range(2):
    tasklist.schedule(defer(use))
tasklist.schedule(defer(Task))
for task in tasklist.run(nprocesses=1, save_session={save_session}):
    print(task.errorvalue, task.returnvalue == expected, type(task.returnvalue) is Task)
    assert type(task) is runforrest.Task
    assert 0 < task.runtime < 60
""")
    assert output == "None True False\n" * 2 + "None False True\n"


@pytest.mark.parametrize("save_session", [False, True])
def test_a_script_may_use_the_names_of_builtins(save_session, script):
    output = script.run(f"""
import builtins
from runforrest import TaskList, defer

def open(*args):
    return "my open"

def len(thing):
    return "my len"

def isinstance(*args):
    return "my isinstance"

def use():
    return open(), len([]), isinstance(1)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(use))
for task in tasklist.run(save_session={save_session}):
    print(task.returnvalue, task.errorvalue)
""")
    assert output == "('my open', 'my len', 'my isinstance') None\n"


def test_names_that_a_script_does_not_have_are_not_those_of_the_library(script):
    output = script.run("""
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
for name in ("main", "run_task", "evaluate", "os", "sys", "partial", "_load", "script"):
    exec(f"def use(): return {name}")
    tasklist.schedule(defer(use))
print([type(task.errorvalue).__name__ for task in tasklist.run()].count("NameError"))
""")
    assert output == "8\n"


# Modules with names that others have --------------------------------------------------

MISLEADING = "signal", "dill", "pickle", "json", "runforrest", "traceback", "subprocess"


def test_modules_in_the_current_directory_do_not_get_in_the_way(script, tmp_path):
    for name in MISLEADING:
        script.write(f"raise RuntimeError('the wrong {name}')", f"here/{name}.py")
    script.write("def work():\n    return 'beside'\n", "project/beside.py")
    output = script.run(
        """
import json
import signal
import traceback
import beside
from runforrest import TaskList, defer

class Error(Exception):
    pass

def use():
    import dill, pickle, subprocess
    assert json.loads("1") == signal.SIGHUP
    return beside.work()

def fail():
    raise Error((lambda: 1).__name__)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(use))
tasklist.schedule(defer(lambda: lambda: 1))
tasklist.schedule(defer(fail))
for task in tasklist.run(nprocesses=1, save_session=True, autokill=60):
    print(type(task.returnvalue).__name__, repr(task.errorvalue))
""",
        name="project/script.py",
        cwd=tmp_path / "here",
    )
    assert output == "str None\nfunction None\nNoneType Error('<lambda>')\n"


def test_a_module_beside_the_script_hides_another_of_its_name_as_it_does_there(
    script, tmp_path
):
    script.write("def work():\n    return 'the wrong one'\n", "here/colorsys.py")
    script.write("def work():\n    return 'beside'\n", "project/colorsys.py")
    output = script.run(
        """
import colorsys
from runforrest import TaskList, defer

def import_inside():
    import colorsys
    return colorsys.work()

tasklist = TaskList("tasklist")
tasklist.schedule(defer(colorsys.work))
tasklist.schedule(defer(import_inside))
for task in tasklist.run(nprocesses=1):
    print(task.returnvalue, task.errorvalue)
""",
        name="project/script.py",
        cwd=tmp_path / "here",
    )
    assert output == "beside None\n" * 2


def test_a_script_without_a_file_imports_from_the_current_directory(script):
    script.write("def work():\n    return 'here'\n", "beside.py")
    output = script.run(
        """
import subprocess
import sys

program = '''
import beside
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(beside.work))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
'''
subprocess.run([sys.executable, "-c", program], check=True)
"""
    )
    assert output == "here None\n"


# Files of the user --------------------------------------------------------------------

NOTES = {
    "notes.txt": "this is not done yet",
    "plan.md": "what is left todo: all",
    "exam.csv": "pass,pass,fail,pas",
    ".hidden": "",
    "20240131235959123456.csv": "1,2,3",
    "data.pkl": "not a pickle",
    "session.pkl": "not a session",
    "session.pkl.bak": "all of this is done 1234",
    "1234567890.pkl.tmp": "half",
}


def leave_files_of_the_user(place):
    for inside in ("", "todo", "done", "fail", "data/todo", "todo/models", ".git"):
        (place / inside).mkdir(exist_ok=True, parents=True)
        for name, text in NOTES.items():
            (place / inside / name).write_text(text)
        (place / inside / "dangling").symlink_to("nowhere")
        (place / inside / "link.pkl").symlink_to(place / "data.pkl")
        os.mkfifo(place / inside / "pipe.pkl")


@pytest.fixture
def precious(directory):
    """A directory that is full of files of the user, in which a list is kept, too."""
    directory.mkdir()
    leave_files_of_the_user(directory)
    return contents(directory)


def test_an_opened_list_with_pre_clean_removes_no_file_of_the_user(precious, directory):
    TaskList(directory, exist_ok=True, pre_clean=True)
    assert contents(directory) == precious


def test_a_used_list_with_post_clean_removes_its_own_files_alone(precious, directory):
    tasklist = TaskList(directory, exist_ok=True, pre_clean=False, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    assert contents(directory).keys() > precious.keys()
    del tasklist
    gc.collect()
    assert contents(directory) == precious


def test_a_list_that_is_refused_removes_no_file_of_the_user(precious, directory):
    with pytest.raises(RuntimeError):
        TaskList(directory, pre_clean=True, post_clean=True)
    gc.collect()
    assert contents(directory) == precious


def test_a_list_in_linked_directories_removes_no_file_of_the_user(tmp_path, directory):
    (tmp_path / "data").mkdir()
    leave_files_of_the_user(tmp_path / "data")
    before = contents(tmp_path / "data")
    directory.mkdir()
    for state in STATES:
        (directory / state).symlink_to(tmp_path / "data" / state)
    tasklist = TaskList(directory, exist_ok=True, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    del tasklist
    gc.collect()
    assert contents(tmp_path / "data") == before
