"""Faults of the tasks and of the user: what goes wrong is told, and nothing is lost."""

import gc
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path

import dill
import pytest
from conftest import MODULE_DIRECTORY, Script, processes_of

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
    return {state: sorted(os.listdir(directory / state)) for state in STATES}


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

def fill_memory_with_small_things():
    limit_memory()
    chain = None
    while True:
        chain = (chain,)

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
    raise Unloadable("too bad")

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
    return subprocess.Popen(["sleep", "600"]).pid

def leave_a_child_that_holds_everything_open():
    return subprocess.Popen(["sleep", "600"], close_fds=False).pid

def leave_a_child_of_a_child():
    command = ["sh", "-c", "sleep 600 & echo $!"]
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
    paths = [str(MODULE_DIRECTORY), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    script = Script(tmp_path_factory.mktemp("faulty"))
    return json.loads(script.run(FAULTY_TASKS, env=environment))


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
    assert_failed("fill_memory_with_small_things", faulty, "MemoryError")


def test_an_array_that_does_not_fit_into_memory_is_a_failure(script):
    need_linux()
    pytest.importorskip("numpy")
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
