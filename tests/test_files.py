"""The files of a task list: who makes them, what is in them, who may remove them."""

import copy
import fractions
import gc
import os
import shutil
import tracemalloc
from datetime import datetime, timedelta

import dill
import pytest
from conftest import STATES, contents, counts, files_in

from runforrest import Task, TaskList, defer, evaluate


def fill(directory):
    """Leave a task in each of todo, done and fail, with the name of it as metadata."""
    tasklist = TaskList(directory)
    tasklist.schedule(defer(divmod, 7, 2), metadata="done")
    tasklist.schedule(defer(divmod, 7, 0), metadata="fail")
    assert len(list(tasklist.run())) == 2
    tasklist.schedule(defer(divmod, 7, 3), metadata="todo")
    return tasklist


# Open a task list ---------------------------------------------------------------------


def test_a_new_directory_is_made_with_its_parents(tmp_path):
    directory = tmp_path / "a" / "b" / "tasklist"
    TaskList(directory)
    assert files_in(directory) == ["done", "fail", "todo"]


def test_a_directory_that_exists_is_refused_and_not_touched(directory):
    fill(directory)
    before = files_in(directory)
    with pytest.raises(RuntimeError, match=r"tasklist.*exist_ok"):
        TaskList(directory)
    with pytest.raises(RuntimeError):
        TaskList(directory, post_clean=True, pre_clean=True)
    gc.collect()
    assert files_in(directory) == before


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"exist_ok": True}, [0, 0, 0]),
        ({"exist_ok": True, "pre_clean": False}, [1, 1, 1]),
        ({"noschedule_if_exist": True}, [1, 1, 1]),
        ({"noschedule_if_exist": True, "exist_ok": True}, [1, 1, 1]),
    ],
)
def test_a_directory_that_exists_is_used_and_cleaned_as_the_options_say(
    options, kept, directory
):
    fill(directory)
    tasklist = TaskList(directory, **options)
    assert counts(directory) == kept
    assert [task.returnvalue for task in tasklist.run()] == [(2, 1)] * kept[0]
    del tasklist
    gc.collect()
    assert counts(directory) == [0, 2 * kept[1], kept[2]]


def test_a_file_in_place_of_the_directory_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    for options in ({}, {"exist_ok": True}, {"noschedule_if_exist": True}):
        with pytest.raises((ValueError, TypeError, RuntimeError), match="file"):
            TaskList(path, **options)
    assert path.read_text() == "precious"


def test_a_task_list_is_removed_with_its_object_if_post_clean_says_so(directory):
    tasklist = TaskList(directory, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    assert len(list(tasklist.run(save_session=True))) == 1
    tasklist.schedule(defer(abs, -1))
    del tasklist
    gc.collect()
    assert not directory.exists()


def test_a_list_that_is_made_again_under_the_same_name_runs_its_tasks(script):
    """As in a notebook, whose cell is run again: the old one ends after the new one."""
    output = script.run("""
import gc
from runforrest import TaskList, defer

for number in range(3):
    tasklist = TaskList("tasklist", exist_ok=True, post_clean=True)
    gc.collect()
    tasklist.schedule(defer(abs, -number))
    gc.collect()
    print(*[task.returnvalue for task in tasklist.run()])
""")
    assert output == "0\n1\n2\n"
    assert files_in(script.directory) == ["script.py"]


def test_nothing_is_scheduled_in_an_existing_directory_with_noschedule_if_exist(
    directory,
):
    for _ in range(2):  # the first of which makes the directory
        tasklist = TaskList(directory, noschedule_if_exist=True)
        tasklist.schedule(defer(divmod, 7, 2))
        assert counts(directory) == [1, 0, 0]
    assert [task.returnvalue for task in tasklist.run()] == [(3, 1)]


def test_a_relative_directory_stays_where_it_is_when_the_script_goes(
    tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    tasklist = TaskList("tasklist", logfile="log")
    monkeypatch.chdir("elsewhere")
    tasklist.schedule(defer(abs, -1))
    assert [task.returnvalue for task in tasklist.run()] == [1]
    assert counts(tmp_path / "tasklist") == [0, 1, 0]
    assert (tmp_path / "log").exists()
    assert files_in(tmp_path / "elsewhere") == []


# Schedule tasks, and read them --------------------------------------------------------


@pytest.mark.parametrize("wrong", [abs, 5, None, [], Task], ids=str)
def test_what_is_not_a_task_can_not_be_scheduled(wrong, tasklist, directory):
    with pytest.raises(TypeError, match="defer"):
        tasklist.schedule(wrong)
    assert counts(directory) == [0, 0, 0]


def test_what_can_not_be_pickled_is_told_by_its_type_and_leaves_nothing_behind(
    tasklist, directory
):
    generator = (1 for _ in "ab")
    for task, metadata in [
        (defer(abs, generator), 1),
        (defer(dict, x=defer(abs, 1), y=generator), 1),
        (defer(abs, 1), generator),
    ]:
        with pytest.raises(TypeError, match="generator"):
            tasklist.schedule(task, metadata)
    assert files_in(directory) == ["done", "fail", "todo"]


def test_a_finished_task_has_its_value_its_error_and_its_runtime_in_seconds(directory):
    tasklist = fill(directory)
    (done,), (fail,) = tasklist.done_tasks(), tasklist.fail_tasks()
    assert (done.returnvalue, done.errorvalue, done.metadata) == ((3, 1), None, "done")
    assert (fail.returnvalue, fail.metadata) == (None, "fail")
    assert type(fail.errorvalue) is ZeroDivisionError
    assert 0 < done.runtime < 10 > fail.runtime > 0


def test_a_task_that_has_not_run_has_no_result_but_can_be_evaluated(directory):
    tasklist = fill(directory)
    (task,) = tasklist.todo_tasks()
    assert task.metadata == "todo"
    assert not hasattr(task, "returnvalue")
    assert not hasattr(task, "errorvalue")
    assert evaluate(task) == (2, 1)


def test_a_finished_task_can_be_evaluated_used_and_scheduled_again(directory):
    tasklist = fill(directory)
    tasklist.clean(clean_done=False)
    (task,) = tasklist.done_tasks()
    assert evaluate(task) == (3, 1)
    tasklist.schedule(task, metadata="the same")
    (path,) = (directory / "todo").iterdir()
    assert not hasattr(dill.loads(path.read_bytes()), "returnvalue")
    tasklist.schedule(defer(list, [task, task[0]]), metadata="more")
    assert {task.metadata: task.returnvalue for task in tasklist.run()} == {
        "the same": (3, 1),
        "more": [(3, 1), 3],
    }


def test_metadata_comes_back_as_it_was(tasklist):
    fraction = fractions.Fraction(1, 3)
    everything = [None, 0, "", {"a": [1, {2}]}, ValueError, os.path.join, fraction]
    for metadata in everything:
        tasklist.schedule(defer(divmod, 1, len(str(metadata)) % 2), metadata)
    assert [task.metadata for task in tasklist.todo_tasks()] == everything
    assert [task.metadata for task in tasklist.run(nprocesses=1)] == everything


def test_a_listing_reads_one_task_at_a_time(tasklist, directory):
    tasklist.schedule(defer(bytes, 1_000_000))
    list(tasklist.run())
    (path,) = (directory / "done").iterdir()
    for number in range(30):
        shutil.copy(path, path.with_name(f"copy {number}.pkl"))
    tracemalloc.start()
    try:
        sizes = [len(task.returnvalue) for task in tasklist.done_tasks()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == [1_000_000] * 31
    assert peak < 8_000_000


def test_done_and_failed_tasks_are_listed_in_the_order_of_scheduling(tasklist):
    for number in range(6):
        tasklist.schedule(defer(divmod, 1, number % 2), metadata=number)
    assert len(list(tasklist.run())) == 6
    assert [task.metadata for task in tasklist.done_tasks()] == [1, 3, 5]
    assert [task.metadata for task in tasklist.fail_tasks()] == [0, 2, 4]
    assert list(tasklist.todo_tasks()) == []


HALVES = """
from runforrest import TaskList, defer

class Argument:
    def __setstate__(self, state):
        print("an argument was loaded")

def halve(number, argument=None):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number / 2

tasklist = TaskList("tasklist")
"""


def test_a_file_is_loaded_with_dill_or_pickle_by_hand(script):
    script.run(f"""{HALVES}
for number in range(2):
    tasklist.schedule(defer(halve, number), metadata=number)
list(tasklist.run())
""")
    output = script.run(
        """
import pickle
from pathlib import Path
import dill

for load in (dill.load, pickle.load):
    for path in sorted(Path("tasklist").glob("*/*.pkl")):
        task = load(path.open("rb"))
        print(task.returnvalue, repr(task.errorvalue), task.metadata, task.runtime > 0)
""",
        name="by_hand.py",
    )
    assert output == 2 * "0.0 None 0 True\nNone ValueError('1 is odd') 1 True\n"


def test_another_script_reads_the_tasks_without_having_their_functions(script):
    script.run(f"""{HALVES}
for number in range(2):
    tasklist.schedule(defer(halve, number, Argument()), metadata=number)
print(len(list(tasklist.run())))
tasklist.schedule(defer(halve, 2, Argument()), metadata="todo")
""")
    output = script.run(
        """
from runforrest import TaskList

tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
(todo,), (done,), (fail,) = (
    tasklist.todo_tasks(), tasklist.done_tasks(), tasklist.fail_tasks()
)
print(todo.metadata)
print(done.metadata, done.returnvalue, done.errorvalue, done.runtime > 0)
print(fail.metadata, fail.returnvalue, repr(fail.errorvalue), fail.runtime > 0)
print("".join(fail.errorvalue.__notes__))
""",
        name="another.py",
    )
    assert output.startswith(
        "todo\n0 0.0 None True\n1 None ValueError('1 is odd') True\n"
    )
    assert 'raise ValueError(f"{number} is odd")' in output
    assert "an argument was loaded" not in output


def test_another_script_runs_the_tasks_and_keeps_its_own_definitions(script):
    script.run(f"""{HALVES}
tasklist.schedule(defer(halve, 4))
""")
    output = script.run(
        """
import sys, __main__, runforrest

def halve(number): return "mine"

tasklist = runforrest.TaskList("tasklist", exist_ok=True, pre_clean=False)
task = before = path = None
before, path = dict(vars(__main__)), list(sys.path)
for task in [*tasklist.todo_tasks()][1:] + [*tasklist.run()]:
    print(task.returnvalue, task.errorvalue, halve(4))
list(tasklist.done_tasks())
assert vars(__main__) == before | {"task": task, "before": before, "path": path}
assert sys.path == path
""",
        name="another.py",
    )
    assert output == "2.0 None mine\n"


# Copy files from fail to todo ---------------------------------------------------------


@pytest.mark.parametrize("carry", [shutil.copy, shutil.move], ids=["cp", "mv"])
def test_a_failed_task_runs_again_when_its_file_is_brought_back(
    carry, tasklist, directory, tmp_path
):
    tasklist.schedule(defer(os.listdir, tmp_path / "x"), metadata="important")
    assert [type(task.errorvalue) for task in tasklist.run()] == [FileNotFoundError]

    (path,) = (directory / "fail").iterdir()
    carry(path, directory / "todo")
    (tmp_path / "x").write_text("this is not a directory")
    assert [type(task.errorvalue) for task in tasklist.run()] == [NotADirectoryError]
    assert [type(t.errorvalue) for t in tasklist.fail_tasks()] == [NotADirectoryError]
    assert counts(directory) == [0, 0, 1]

    carry(path, directory / "todo")
    (tmp_path / "x").unlink()
    (tmp_path / "x").mkdir()
    (task,) = tasklist.run()
    assert (task.returnvalue, task.errorvalue, task.metadata) == ([], None, "important")
    assert counts(directory) == [0, 1, 0]


# Clean up -----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", STATES)
def test_clean_keeps_what_it_is_told_to_keep(kept, directory):
    fill(directory).clean(**{f"clean_{kept}": False})
    (path,) = directory.rglob("*.pkl")
    assert path.parent == directory / kept


def test_clean_removes_what_was_killed_before_it_was_written_to_its_end(directory):
    tasklist = fill(directory)
    (task,) = (directory / "todo").iterdir()
    for name in (
        "session.pkl.globals.tmp",
        f"{task.name}.tmp",
        f"{task.name}.done.tmp",
    ):
        (directory / "todo" / name).write_bytes(b"half of i")
    for name in ("session.pkl.globals", f"{task.name}.done", f"{task.name}.fail"):
        (directory / "todo" / name).write_bytes(task.read_bytes())
    tasklist.clean()
    assert not directory.exists()


def test_clean_removes_the_directory_and_scheduling_makes_it_again(directory):
    tasklist = fill(directory)
    list(tasklist.run(save_session=True))
    tasklist.clean()
    assert not directory.exists()
    tasklist.clean()
    assert [*tasklist.todo_tasks(), *tasklist.run()] == []
    tasklist.schedule(defer(abs, -1))
    assert [task.returnvalue for task in tasklist.run()] == [1]


def test_a_damaged_file_is_kept_in_fail_after_the_directories_were_removed(directory):
    tasklist = TaskList(directory)
    tasklist.clean()
    tasklist.schedule(defer(abs, -1))
    (path,) = (directory / "todo").iterdir()
    assert [path.name for path in directory.iterdir()] == ["todo"]
    path.write_bytes(b"damaged")
    (task,) = tasklist.run()
    assert "damaged" in str(task.errorvalue)
    assert (directory / "fail" / path.name).read_bytes() == b"damaged"


USERS_FILES = "notes.txt", "zebra.txt", ".hidden", "2024", "data.pickle", "todo.csv"
USERS_PICKLES = "data.pkl", "session.pkl", "1795432059362737564-95f403c9.pkl.done"


def leave_files_of_the_user(directory):
    """Put files of all kinds into a directory; return what is in them.

    But no .pkl into those of the states: what is called so there is a task.
    """
    for place in ("", *STATES, "todo/models.pkl", ".git", "data/todo"):
        (directory / place).mkdir(exist_ok=True, parents=True)
        for name in USERS_FILES + (() if place in STATES else USERS_PICKLES):
            (directory / place / name).write_bytes(dill.dumps("todo done fail"))
        (directory / place / "dangling.pkl").symlink_to("nowhere")
        os.mkfifo(directory / place / "pipe.pkl")
    return contents(directory)


@pytest.mark.parametrize(
    "use",
    [
        'TaskList(".", exist_ok=True)',
        'TaskList(".", exist_ok=True).clean()',
        'TaskList(".", exist_ok=True, pre_clean=False, post_clean=True)',
        'TaskList(".", exist_ok=True, post_clean=True).schedule(defer(abs, -1))',
    ],
)
def test_a_list_in_a_directory_of_the_user_removes_none_of_its_files(
    use, script, directory
):
    before = leave_files_of_the_user(directory)
    script.run(f"from runforrest import TaskList, defer\n{use}\n", cwd=directory)
    after = contents(directory)
    assert {path: after.get(path) for path in before} == before


def test_a_list_finds_its_own_files_among_those_of_the_user(directory):
    tasklist = fill(directory)
    own = contents(directory)
    leave_files_of_the_user(directory)
    tasklist.clean()
    assert not {path for path in own if path.suffix} & contents(directory).keys()


def test_a_copy_of_a_task_list_does_not_remove_it(directory):
    tasklist = TaskList(directory, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    copies = [copy.copy(tasklist), dill.loads(dill.dumps(tasklist))]
    assert [len(list(one.todo_tasks())) for one in copies] == [1, 1]
    del copies
    gc.collect()
    assert counts(directory) == [1, 0, 0]


@pytest.mark.parametrize(
    "use", ["list(run)", "sys.kept = tasklist, list(run)", "sys.kept = next(iter(run))"]
)
def test_a_task_list_that_lives_as_long_as_its_script_is_removed_with_it(use, script):
    process = script.start(f"""
import sys, time
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", post_clean=True)
for _ in range(9):
    tasklist.schedule(defer(time.sleep, 0.02))
run = tasklist.run()
{use}
""")
    assert process.communicate(timeout=60) == ("", "")
    assert files_in(script.directory) == ["script.py"]


@pytest.mark.parametrize("end", ["del tasklist", "sys.exit()"])
def test_a_fork_of_the_script_does_not_remove_its_task_list(end, script):
    output = script.run(f"""
import os, sys
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", post_clean=True)
tasklist.schedule(defer(abs, -1))
if os.fork() == 0:
    {end}
    sys.exit()
os.wait()
print(len(list(tasklist.todo_tasks())))
""")
    assert output == "1\n"
    assert files_in(script.directory) == ["script.py"]


def test_a_task_list_that_is_sent_to_a_task_cleans_nothing_there(script):
    output = script.run("""
from pathlib import Path
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", post_clean=True)

def look(): return len(list(tasklist.done_tasks()))

for _ in range(2):
    tasklist.schedule(defer(look))
for task in tasklist.run(nprocesses=1):
    assert task.errorvalue is None, task.errorvalue
print(len(list(tasklist.done_tasks())))
""")
    assert output == "2\n"


# Keep a log ---------------------------------------------------------------------------


def test_the_log_tells_when_which_task_went_where(tasklist, directory, tmp_path):
    log = tmp_path / "log"
    log.write_text("what was here before\n")
    earliest = datetime.now().astimezone() - timedelta(seconds=2)
    for divisor in range(2):
        tasklist.schedule(defer(divmod, 7, divisor))
    list(tasklist.run(nprocesses=1))
    first, *lines = log.read_text().splitlines()
    assert first == "what was here before"
    (fail,), (done,) = (directory / "fail").iterdir(), (directory / "done").iterdir()
    times, names, events = zip(*(line.split() for line in lines), strict=True)
    assert list(zip(names, events, strict=True)) == [
        (fail.name, "schedule"),
        (done.name, "schedule"),
        (fail.name, "start"),
        (fail.name, "fail"),
        (done.name, "start"),
        (done.name, "done"),
    ]
    moments = [datetime.fromisoformat(text).astimezone() for text in times]
    assert [earliest, *moments] == sorted([earliest, *moments])
    assert moments[-1] <= datetime.now().astimezone()


@pytest.mark.parametrize("logfile", ["log", None])
def test_what_tasks_print_is_in_the_log_or_is_seen_without_one(logfile, script):
    process = script.start(f"""
import os, sys
from runforrest import TaskList, defer

def speak():
    print("printed")
    print("complained", file=sys.stderr)
    os.system("echo from a child; echo error from a child >&2")
    print("unfinished", end="", flush=True)

tasklist = TaskList("tasklist", logfile={logfile!r})
tasklist.schedule(defer(speak))
for task in tasklist.run():
    assert task.errorvalue is None
""")
    output, errors = process.communicate(timeout=60)
    if logfile:
        assert (output, errors) == ("", "")
        output = errors = (script.directory / logfile).read_text()
    assert all(said in output for said in ("printed", "from a child", "unfinished"))
    assert all(said in errors for said in ("complained", "error from a child"))


def test_a_log_that_can_not_be_written_is_an_error_that_loses_nothing(
    directory, tmp_path
):
    with pytest.raises(FileNotFoundError, match="logs/log"):
        TaskList(directory, logfile=tmp_path / "logs" / "log")
    (tmp_path / "logs").mkdir()
    tasklist = TaskList(directory, exist_ok=True, logfile=tmp_path / "logs" / "log")
    tasklist.schedule(defer(abs, -1))
    shutil.rmtree(tmp_path / "logs")
    with pytest.raises(FileNotFoundError, match="logs/log"):
        list(tasklist.run())
    assert counts(directory) == [1, 0, 0]
    (tmp_path / "logs").mkdir()
    assert [task.returnvalue for task in tasklist.run()] == [1]
