"""Faults of the tasks and of the user: what goes wrong is told, and nothing is lost."""

import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import dill
import pytest
from conftest import (
    MODULE_DIRECTORY,
    STATES,
    Script,
    contents,
    counts,
    files_in,
    hide_linux,
    need,
    schedule,
)

from runforrest import defer


@pytest.fixture(scope="module")
def linux():
    need(sys.platform == "linux", "this needs Linux")


# Tasks that end in all ways -----------------------------------------------------------

WATCH = """
import json, os, time
from pathlib import Path
from runforrest import TaskList, defer

def start(function):
    Path(f"{function.__name__}.pid").write_text(str(os.getpid()))
    return function()

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
    WATCH
    + """
import ctypes, resource, signal, sqlite3, subprocess, sys, tempfile

def exit_silently(): sys.exit()
def exit_with_a_code(): sys.exit(3)
def interrupt(): raise KeyboardInterrupt
def close_a_generator(): raise GeneratorExit
def exit_at_once(): os._exit(0)
def segfault(): ctypes.string_at(0)
def abort(): os.abort()
def kill_itself(): os.kill(os.getpid(), signal.SIGKILL)

def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (500_000_000, 500_000_000))

def fill_memory_with_big_things():
    limit_memory()
    chunks = []
    while True:
        chunks.append(bytearray(10_000_000))

def return_more_than_fits_into_memory():
    value = ["x" * 300_000_000]
    limit_memory()
    return value

def return_a_generator(): return (number for number in range(3))
def return_a_database(): return sqlite3.connect(":memory:")

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

def raise_a_picky_error(): raise Picky("first", "second")

def raise_an_unloadable_error():
    error = Unloadable("too bad")
    error.state = "what can't be loaded"
    raise error

def raise_an_unpicklable_error():
    error = Exception("bad", (letter for letter in "ab"))
    error.add_note("a note")
    raise error

def raise_an_error_of_json(): json.loads("{")

class Reduced(Exception):
    def __init__(self, first, second):
        self.first = first
    def __reduce__(self):
        return Reduced, (self.first, 2)

def raise_a_reduced_error(): raise Reduced(1, 2)

class Hostile:
    def refuse(self, *_):
        raise RuntimeError("leave me alone")
    __repr__ = __str__ = __eq__ = __ne__ = __bool__ = __len__ = __iter__ = refuse
    __hash__ = __format__ = __contains__ = __getitem__ = refuse

def return_something_hostile(): return [Hostile()]

class Divisor:
    def __reduce__(self):
        return divmod, (1, 0)

def return_what_can_not_be_loaded(): return Divisor()

def return_something_of_a_module_that_goes():
    Path("gone.py").write_text("class Thing: pass")
    import gone
    Path("gone.py").unlink()
    return gone.Thing()

def leave_a_child(): subprocess.Popen(["sleep", "60"])
def leave_a_child_with_all_files(): subprocess.Popen(["sleep", "60"], close_fds=False)

def die_and_leave_a_child():
    leave_a_child()
    segfault()

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

def forget_its_path():
    sys.path.clear()
    sys.argv.clear()
    return "without a path"

def do_all_of_this():
    sys.setrecursionlimit(100)
    os.umask(0o777)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    clear_the_environment(), forget_its_path()
    delete_where_it_is(), close_its_outputs_too()
    return "after all"

def nothing_special(): return "as always"

ignored = [start, still_running, empty, record, limit_memory, defer]
tasklist = TaskList("tasklist", logfile="log")
for name, function in list(vars().items()):
    if type(function) is type(start) and function not in ignored:
        tasklist.schedule(defer(start, function), metadata=name)

def watch():
    for task in tasklist.run(nprocesses=3):
        result["empty"][task.metadata] = empty(task.metadata)
        yield task

result = {"empty": {}}
result["yielded"] = record(watch())
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
def faulty(tmp_path_factory, linux):
    """What became of many faulty tasks of one list: as yielded, and as listed."""
    return run_for_module(FAULTY_TASKS, tmp_path_factory.mktemp("faulty"))


def run_for_module(source, directory, *paths):
    """Run a script that several tests look at, and return what it printed as JSON."""
    paths = [*paths, str(MODULE_DIRECTORY), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return json.loads(Script(directory).run(source, env=environment))


def test_each_task_is_yielded_once_and_is_in_one_list(faulty):
    assert len(faulty["yielded"]) > 25
    assert {outcome["times"] for outcome in faulty["yielded"].values()} == {1}
    assert sorted([*faulty["done"], *faulty["fail"]]) == sorted(faulty["yielded"])
    assert faulty["todo"] == []


def test_tasks_are_listed_as_they_were_yielded(faulty):
    listed = faulty["done"] | faulty["fail"]
    for name, outcome in faulty["yielded"].items():
        assert listed[name] == outcome


@pytest.mark.parametrize(
    ("function", "error", "texts"),
    [
        ("exit_silently", "SystemExit", ["in exit_silently"]),
        ("exit_with_a_code", "SystemExit", ["in exit_with_a_code"]),
        ("interrupt", "KeyboardInterrupt", ["in interrupt"]),
        ("close_a_generator", "GeneratorExit", ["in close_a_generator"]),
        ("exit_at_once", "SubprocessError", ["ended without a result"]),
        ("segfault", "CalledProcessError", ["SIGSEGV"]),
        ("abort", "CalledProcessError", ["SIGABRT"]),
        ("kill_itself", "CalledProcessError", ["SIGKILL"]),
        ("fill_memory_with_big_things", "MemoryError", []),
        ("return_more_than_fits_into_memory", "MemoryError", []),
        ("return_a_generator", "TypeError", ["pickle", "generator"]),
        ("return_a_database", "TypeError", ["pickle", "sqlite3.Connection"]),
        ("return_an_endless_nest", "RecursionError", []),
        ("raise_a_picky_error", "Picky", ["first and second", "in raise_a_picky_er"]),
        ("raise_an_unloadable_error", "RuntimeError", ["Unloadable: too bad", "raise"]),
        ("raise_an_unpicklable_error", "RuntimeError", ["('bad', <gen", "a note"]),
        ("raise_an_error_of_json", "JSONDecodeError", ["in raise_an_error_of_json"]),
        ("raise_a_reduced_error", "Reduced", ["in raise_a_reduced_error"]),
    ],
)
def test_a_task_that_failed_tells_the_true_cause(function, error, texts, faulty):
    outcome = faulty["fail"][function]
    assert (outcome["value"], outcome["error"]) == (None, error)
    for text in [*texts, "python -m runforrest"]:
        assert text in outcome["text"] + outcome["notes"]


def test_another_script_is_told_of_results_and_errors_that_it_can_not_load(script):
    source = """
class Mine(Exception): pass
def fail(): raise Mine("too bad")
"""
    script.run_tasks(source, "defer(fail)", "defer(Mine)", "defer(abs, -1)")
    output = script.run(
        """
from runforrest import TaskList

tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
for task in [*tasklist.done_tasks(), *tasklist.fail_tasks()]:
    print(task.returnvalue, repr(task.errorvalue))
print(*task.errorvalue.__notes__)
""",
        name="other.py",
    )
    mine, yours, failed, *notes = output.splitlines()
    assert yours == "1 None"
    for text in mine, failed:
        assert text.startswith("None AttributeError(") and "Mine" in text
    assert any("in fail" in line for line in notes)
    assert any(line.endswith("Mine: too bad") for line in notes)


def test_an_error_that_can_not_be_printed_is_yielded_and_listed(script):
    output = script.run("""
from runforrest import TaskList, defer

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("this can not be printed")
    __repr__ = __str__

def fail(): raise Unprintable("too bad")

tasklist = TaskList("tasklist")
tasklist.schedule(defer(fail))
for task in [*tasklist.run(), *tasklist.fail_tasks()]:
    print(type(task.errorvalue).__name__, task.errorvalue.args)
    print("in fail" in "".join(task.errorvalue.__notes__))
""")
    assert output == "Unprintable ('too bad',)\nTrue\n" * 2


def test_a_value_that_refuses_everything_is_a_result_like_others(faulty):
    assert faulty["done"]["return_something_hostile"]["value"] == ["Hostile"]


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


def test_what_a_task_leaves_running_is_gone_when_the_task_is_done(faulty):
    assert faulty["empty"].keys() == faulty["yielded"].keys()
    assert [name for name, empty in faulty["empty"].items() if not empty] == []


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("delete_where_it_is", "from nowhere"),
        ("close_all_descriptors", "without descriptors"),
        ("close_its_outputs_too", "without outputs"),
        ("clear_the_environment", "without an environment"),
        ("forget_its_path", "without a path"),
        ("do_all_of_this", "after all"),
        ("nothing_special", "as always"),
    ],
)
def test_a_task_that_disturbs_its_process_has_its_own_result(function, value, faulty):
    outcome = faulty["done"][function]
    assert (outcome["value"], outcome["error"]) == (value, None)


# Tasks that do not end ----------------------------------------------------------------

LATE_TASKS = (
    WATCH
    + """
import ctypes, signal, subprocess

SECONDS = 45  # are forever, but not for a test that fails

def sleep_forever(): time.sleep(SECONDS)

def compute_forever():
    while time.process_time() < SECONDS:
        pass

def ignore_all_signals():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    time.sleep(SECONDS)

def stop_itself(): os.kill(os.getpid(), signal.SIGSTOP)
def sleep_in_c_and_let_no_thread_run(): ctypes.PyDLL(None).sleep(SECONDS)

def sleep_with_children():
    command = f"trap '' TERM; sleep {SECONDS} & sleep {SECONDS} & wait"
    subprocess.run(command, shell=True)

def fork_forever():
    os.fork()
    os.fork()
    time.sleep(SECONDS)

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


@pytest.fixture(scope="module", params=["Linux", "macOS"])
def late(request, tmp_path_factory, linux):
    """What became of tasks that did not end, while their runner went on."""
    path = hide_linux(request.param, tmp_path_factory.mktemp("system"))
    return run_for_module(LATE_TASKS, tmp_path_factory.mktemp("late"), path)


@pytest.mark.parametrize(
    "function",
    [
        *("sleep_forever", "compute_forever", "ignore_all_signals", "stop_itself"),
        *("sleep_in_c_and_let_no_thread_run", "sleep_with_children", "fork_forever"),
    ],
)
def test_autokill_ends_whatever_takes_too_long_and_all_its_processes(function, late):
    outcome = late["yielded"][function]
    assert (outcome["times"], outcome["error"]) == (1, "TimeoutExpired")
    assert re.search(r"timed out after 3(\.0)? seconds", outcome["text"])
    assert function in late["empty"]


def test_autokill_leaves_no_zombie_and_no_mark_on_tasks_in_time(late):
    assert late["zombie"] in (None, [0, 0])  # or multiprocessing has a process running
    assert late["yielded"]["in time"]["value"] == 1
    assert late["yielded"]["in time"]["error"] is None


# Output that nobody reads -------------------------------------------------------------


def test_ten_megabytes_of_output_are_in_the_log_to_the_last_line(script):
    script.run_tasks(
        """
import sys

def talk(stream):
    for number in range(100_000):
        print(f"{number:049}", file=getattr(sys, stream))
""",
        "defer(talk, 'stdout')",
        "defer(talk, 'stderr')",
        run="autokill=60",
    )
    log = (script.directory / "log").read_text().splitlines()
    assert [int(line) for line in log if line.isdigit()] == 2 * [*range(100_000)]


@pytest.mark.parametrize("log", ["log", None])
def test_a_grandchild_that_holds_the_output_open_keeps_nobody_waiting(log, script):
    output = script.run_tasks(
        """
import subprocess

def speak_through_a_child():
    subprocess.run(["sh", "-c", "echo spoken; sleep 60 & echo unfinished"])
""",
        "defer(speak_through_a_child)",
        run="autokill=60",
        log=log,
        timeout=30,
    )
    assert output.endswith("None None\n")
    said = (script.directory / "log").read_text() if log else output
    assert {"spoken", "unfinished"} < {*said.split()}


# Results and errors that only a script can make ---------------------------------------


@pytest.mark.parametrize("end", ["os._exit(9)", "ctypes.string_at(0)", "1 / 0"])
def test_an_old_result_is_kept_and_not_yielded_when_its_task_fails_now(end, script):
    output = script.run(f"""
import ctypes, os, shutil
from pathlib import Path
from runforrest import TaskList, defer

def work():
    if Path("worse").exists():
        {end}
    return "old result"

tasklist = TaskList("tasklist")
tasklist.schedule(defer(work))
list(tasklist.run())
(path,) = Path("tasklist/done").iterdir()
content = path.read_bytes()
shutil.copy2(path, "tasklist/todo")
Path("worse").touch()
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue is None, path.read_bytes() == content)
print(*[task.returnvalue for task in tasklist.done_tasks()])
""")
    assert output == "None False True\nold result\n"
    assert counts(script.directory / "tasklist") == [0, 1, 1]


def test_a_result_that_would_end_the_script_when_it_is_loaded_does_not(script):
    output = script.run_tasks(
        """
import sys

class Exit:
    def __reduce__(self):
        return sys.exit, ("end of the script",)
""",
        "defer(Exit)",
        "defer(abs, -1)",
    )
    assert output == "None SystemExit('end of the script')\n1 None\n"


class Hostile:
    """Refuses everything that a library might do to an argument without need."""

    def refuse(self, *_):
        raise RuntimeError("leave me alone")

    __repr__ = __str__ = __eq__ = __ne__ = __bool__ = __len__ = __iter__ = refuse
    __hash__ = __format__ = __contains__ = __getitem__ = refuse


def test_arguments_and_metadata_may_refuse_everything_but_to_be_pickled(tasklist):
    tasklist.schedule(defer(type, Hostile()), metadata=Hostile())
    (task,) = tasklist.run()
    assert (task.returnvalue, task.errorvalue) == (Hostile, None)
    assert type(task.metadata) is Hostile


# Task files that are damaged, taken away or not task files at all ---------------------


@pytest.fixture
def damage(tasklist, directory, monkeypatch):
    """All that may be left of a file, with a name; three good tasks are in todo."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [])  # which would make the files longer
        schedule(tasklist, *[defer(abs, number) for number in (-1, -2, -3)])
    content = next((directory / "todo").iterdir()).read_bytes()
    found = {f"cut {size:04}.pkl": content[:size] for size in range(len(content))}
    assert len(found) > 200
    return found | {
        "zeros.pkl": bytes(len(content)),
        "zeros at the end.pkl": content[:-8] + bytes(8),
        "another file.pkl": dill.dumps("this is not a task"),
    }


@pytest.mark.parametrize("state", STATES)
def test_files_cut_anywhere_are_listed_with_the_reason(
    state, damage, tasklist, directory
):
    for name, content in damage.items():
        (directory / state / name).write_bytes(content)
    tasks = list(getattr(tasklist, f"{state}_tasks")())
    errors = [str(task.errorvalue) for task in tasks if hasattr(task, "errorvalue")]
    assert len(errors) == len(damage)
    assert all("damaged" in text and ".pkl" in text for text in errors)


def test_files_cut_anywhere_are_kept_in_fail_and_the_others_run(
    damage, tasklist, directory
):
    # A process takes its time: of the cuts, every tenth, and the last ones.
    damage = dict([*damage.items()][::10] + [*damage.items()][-8:])
    for name, content in damage.items():
        (directory / "todo" / name).write_bytes(content)
    tasks = list(tasklist.run(nprocesses=2))
    good = [task.returnvalue for task in tasks if task.errorvalue is None]
    bad = [str(task.errorvalue) for task in tasks if task.errorvalue is not None]
    assert sorted(good) == [1, 2, 3]
    assert len(bad) == len(damage)
    assert all("damaged" in text for text in bad)
    assert sorted(damage) == files_in(directory / "fail")
    for name, content in damage.items():
        assert (directory / "fail" / name).read_bytes() == content
    assert files_in(directory / "todo") == []


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


def take_away(path, how):
    if how == "delete":
        path.unlink()
    elif how == "replace":
        shutil.copy(path, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
    else:
        (path.parents[2] / how).mkdir(exist_ok=True)
        path.rename(path.parents[2] / how / path.name)


@pytest.mark.parametrize("how", ["delete", "elsewhere", "tasklist/fail"])
def test_a_run_goes_on_without_the_files_that_are_taken_out_of_the_queue(
    how, tasklist, directory, tmp_path
):
    schedule(tasklist, defer(abs, -1), defer(os.mkdir, tmp_path / "never made"))
    schedule(tasklist, defer(abs, -3))
    _, queued, _ = sorted((directory / "todo").iterdir())
    run = tasklist.run(nprocesses=1)
    take_away(queued, how)
    assert [task.returnvalue for task in run] == [1, 3]
    assert not (tmp_path / "never made").exists()
    assert counts(directory) == [0, 2, how == "tasklist/fail"]
    assert how == "delete" or (tmp_path / how / queued.name).exists()


@pytest.mark.parametrize("how", ["delete", "replace", "elsewhere", "tasklist/fail"])
def test_a_task_whose_file_is_taken_away_while_it_runs_has_its_result(
    how, tasklist, directory, tmp_path
):
    os.mkfifo(tmp_path / "gate")
    schedule(tasklist, defer(open, tmp_path / "gate", "rb").read(), defer(abs, -1))
    running, _ = sorted((directory / "todo").iterdir())
    with ThreadPoolExecutor(1) as pool:
        tasks = pool.submit(list, tasklist.run(nprocesses=1))
        with (tmp_path / "gate").open("wb") as gate:  # when the task has opened it, too
            take_away(running, how)
            gate.write(b"read")
        assert [task.returnvalue for task in tasks.result(30)] == [b"read", 1]
    assert counts(directory) == [0, 2, 0]


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
        *("with space", "new\nline", "ünï\N{EVERGREEN TREE}", "a[b]*?", "-r"),
        'quote\'s "and" $HOME `x`; exit 1',
    ],
)


@odd_names
def test_a_task_whose_file_was_renamed_is_run_under_that_name(
    name, tasklist, directory
):
    schedule(tasklist, defer(divmod, 4, 0), defer(divmod, 4, 1))
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
    script = Script(tmp_path / name)
    script.write("def work():\n    return 'beside'\n", "beside.py")
    output = script.run(
        f"""
import sys
sys.path.insert(1, {str(MODULE_DIRECTORY)!r})
import beside, os
from runforrest import TaskList, defer

def look():
    return sys.executable == python, os.environ.get("PATH"), os.environ["RUNFORREST"]

python, here = sys.executable, os.getcwd()
tasklist = TaskList(sys.argv[1], logfile=sys.argv[1] + " log")
tasklist.schedule(defer(beside.work))
tasklist.schedule(defer(look))
os.chdir("/")
for task in tasklist.run(nprocesses=1, autokill=60, save_session=True):
    print(task.returnvalue, task.errorvalue)
    if isinstance(task.returnvalue, tuple):
        print(task.returnvalue == (True, None, os.path.join(here, sys.argv[1])))
print(len(list(tasklist.done_tasks())))
""",
        name,
        env={},
    )
    assert output.startswith("beside None\n(True, None, ")
    assert output.endswith(" None\nTrue\n2\n")


OWN_NAMES = """
import runforrest
from runforrest import TaskList, defer

class Task:
    name = "my task"

class _Run(Task): pass
def open(*args): return "my open"
def len(thing): return "my len"
def main(args=None): return "my main"
def evaluate(task): return f"my evaluate of {task}"
def run_task(*args): return "my run_task"

_load = _write = _seal = _finish = _freeze = pickle = importlib = types = main
time, os, sys, io, fcntl, builtins, script, alive = range(8)

def use():
    functions = main(), evaluate(Task.name), run_task(), _load(), _finish(), pickle()
    functions += open(), len([])
    return functions, _Run().name, [time, os, sys, io, fcntl, builtins, script, alive]

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
    script.write("def work():\n    return 'the wrong one'\n", "here/colorsys.py")
    script.write("def work():\n    return 'beside'\n", "project/colorsys.py")
    output = script.run(
        """
import json, signal, traceback, colorsys
from runforrest import TaskList, defer

class Error(Exception): pass

def use():
    import dill, pickle, subprocess
    assert json.loads("1") == signal.SIGHUP
    return colorsys.work()

def import_inside():
    import colorsys
    return colorsys.work()

def fail(): raise Error((lambda: 1).__name__)

tasklist = TaskList("tasklist")
for function in use, import_inside, colorsys.work, fail:
    tasklist.schedule(defer(function))
for task in tasklist.run(nprocesses=1, save_session=True, autokill=60):
    print(task.returnvalue, repr(task.errorvalue))
""",
        name="project/script.py",
        cwd=tmp_path / "here",
    )
    assert output == "beside None\n" * 3 + "None Error('<lambda>')\n"


def test_a_script_without_a_file_imports_from_the_current_directory(script):
    script.write("def work():\n    return 'here'\n", "beside.py")
    program = """
import beside
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(beside.work))
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
"""
    output = script.run("", python=(sys.executable, "-c", program))
    assert output == "here None\n"
