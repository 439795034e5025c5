"""The files of a task list: who makes them, what is in them, who may remove them."""

import copy
import gc
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import dill
import pytest

from runforrest import Task, TaskList, defer, evaluate


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "tasklist"


def files_in(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def fill(directory):
    """Leave a task in each of todo, done and fail, with the name of it as metadata."""
    tasklist = TaskList(directory)
    tasklist.schedule(defer(divmod, 7, 2), metadata="done")
    tasklist.schedule(defer(divmod, 7, 0), metadata="fail")
    assert len(list(tasklist.run())) == 2
    tasklist.schedule(defer(divmod, 7, 3), metadata="todo")
    return tasklist


def counts(directory):
    return [len(list((directory / state).glob("*"))) for state in STATES]


STATES = "todo", "done", "fail"


# Open a task list ---------------------------------------------------------------------


def test_a_new_directory_is_made_with_its_parents(tmp_path):
    directory = tmp_path / "a" / "b" / "tasklist"
    TaskList(directory)
    assert files_in(directory) == ["done", "fail", "todo"]


def test_a_directory_that_exists_is_refused_and_not_touched(directory):
    fill(directory)
    before = files_in(directory)
    with pytest.raises(RuntimeError, match=r"tasklist.*exist_ok=True"):
        TaskList(directory)
    with pytest.raises(RuntimeError):
        TaskList(directory, post_clean=True, pre_clean=True)
    gc.collect()
    assert files_in(directory) == before


def test_a_directory_that_exists_is_cleaned_if_that_is_ok(directory):
    fill(directory)
    TaskList(directory, exist_ok=True)
    assert files_in(directory) == ["done", "fail", "todo"]


def test_a_directory_that_exists_keeps_its_tasks_without_pre_clean(directory):
    fill(directory)
    tasklist = TaskList(directory, exist_ok=True, pre_clean=False)
    assert counts(directory) == [1, 1, 1]
    assert [task.returnvalue for task in tasklist.run()] == [(2, 1)]


def test_a_file_in_place_of_the_directory_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    for options in ({}, {"exist_ok": True}, {"noschedule_if_exist": True}):
        with pytest.raises((ValueError, TypeError, RuntimeError), match="file"):
            TaskList(path, **options)
    assert path.read_text() == "precious"


def test_a_file_ends_in_the_checksum_of_what_is_before_it(directory):
    TaskList(directory).schedule(defer(abs, -1))
    (path,) = (directory / "todo").iterdir()
    content = path.read_bytes()
    assert zlib.crc32(content[:-4]) == int.from_bytes(content[-4:], "little")


def test_a_task_list_is_removed_with_its_object_if_post_clean_says_so(directory):
    tasklist = TaskList(directory, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    assert len(list(tasklist.run(save_session=True))) == 1
    tasklist.schedule(defer(abs, -1))
    del tasklist
    gc.collect()
    assert not directory.exists()


def test_a_task_list_survives_its_object_without_post_clean(directory):
    tasklist = TaskList(directory)
    tasklist.schedule(defer(abs, -1))
    del tasklist
    gc.collect()
    assert counts(directory) == [1, 0, 0]


def test_nothing_is_scheduled_in_an_existing_directory_with_noschedule_if_exist(
    directory,
):
    for _ in range(2):  # the first of which makes the directory
        tasklist = TaskList(directory, noschedule_if_exist=True)
        tasklist.schedule(defer(divmod, 7, 2))
        assert counts(directory) == [1, 0, 0]
    assert [task.returnvalue for task in tasklist.run()] == [(3, 1)]


def test_noschedule_if_exist_cleans_nothing(directory):
    fill(directory)
    TaskList(directory, noschedule_if_exist=True)
    TaskList(directory, noschedule_if_exist=True, exist_ok=True)
    assert counts(directory) == [1, 1, 1]


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


def test_the_repr_tells_the_directory_and_how_many_tasks_are_in_it(directory):
    tasklist = fill(directory)
    tasklist.schedule(defer(abs, -1))
    text = repr(tasklist)
    for part in ("TaskList", str(directory), "todo=2", "done=1", "fail=1"):
        assert part in text
    tasklist.clean()
    assert "todo=0" in repr(tasklist)


# Schedule tasks, and read them --------------------------------------------------------


def test_tasks_start_in_the_order_of_scheduling_though_the_clock_is_set_back(
    directory, monkeypatch
):
    tasklist, clock = TaskList(directory), itertools.count(time.time_ns(), -1)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    for number in range(9):
        tasklist.schedule(defer(abs, number))
    assert [task.returnvalue for task in tasklist.run(nprocesses=1)] == [*range(9)]


def test_names_sort_in_the_order_of_scheduling(directory):
    for half in range(2):
        tasklist = TaskList(directory, exist_ok=True, pre_clean=False)
        for number in range(50):
            tasklist.schedule(defer(abs, number), metadata=50 * half + number)
    paths = sorted((directory / "todo").iterdir(), key=lambda path: path.name)
    assert [dill.loads(path.read_bytes()).metadata for path in paths] == [*range(100)]
    assert [task.metadata for task in tasklist.todo_tasks()] == [*range(100)]


def test_done_and_failed_tasks_are_listed_in_the_order_of_scheduling(directory):
    tasklist = TaskList(directory)
    for number in range(6):
        tasklist.schedule(defer(divmod, 1, number % 2), metadata=number)
    assert len(list(tasklist.run())) == 6
    assert [task.metadata for task in tasklist.done_tasks()] == [1, 3, 5]
    assert [task.metadata for task in tasklist.fail_tasks()] == [0, 2, 4]
    assert list(tasklist.todo_tasks()) == []


def test_a_finished_task_has_its_value_its_error_and_its_runtime(directory):
    tasklist = fill(directory)
    (done,), (fail,) = tasklist.done_tasks(), tasklist.fail_tasks()
    assert (done.returnvalue, done.errorvalue, done.metadata) == ((3, 1), None, "done")
    assert (fail.returnvalue, fail.metadata) == (None, "fail")
    assert type(fail.errorvalue) is ZeroDivisionError
    assert 0 < done.runtime < 10 > fail.runtime > 0


def test_the_runtime_is_in_seconds(script):
    assert (
        0.3
        <= float(
            script.run("""
import time
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(time.sleep, 0.3))
(task,) = tasklist.run()
print(task.runtime)
""")
        )
        < 10
    )


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
    tasklist.schedule(defer(list, [task, task[0]]), metadata="more")
    assert {task.metadata: task.returnvalue for task in tasklist.run()} == {
        "the same": (3, 1),
        "more": [(3, 1), 3],
    }


def test_a_finished_task_that_is_scheduled_again_leaves_its_result_behind(directory):
    tasklist = TaskList(directory)
    tasklist.schedule(defer(bytes, 1_000_000))
    (task,) = tasklist.run()
    assert len(task.returnvalue) == 1_000_000
    tasklist.schedule(task)
    (path,) = (directory / "todo").iterdir()
    assert path.stat().st_size < 10_000


def test_metadata_comes_back_as_it_was(directory):
    tasklist = TaskList(directory)
    everything = [None, 0, "", {"a": [1, {2}]}, ValueError, b"x", Path("x")]
    for metadata in everything:
        tasklist.schedule(defer(divmod, 1, len(str(metadata)) % 2), metadata)
    assert [task.metadata for task in tasklist.todo_tasks()] == everything
    finished = [task.metadata for task in tasklist.run()]
    assert sorted(map(str, finished)) == sorted(map(str, everything))
    assert None in finished


def test_what_is_not_a_task_can_not_be_scheduled(directory):
    tasklist = TaskList(directory)
    for wrong in (abs, 5, None, [defer(abs, -1)], Task):
        with pytest.raises(TypeError, match="defer"):
            tasklist.schedule(wrong)
    assert counts(directory) == [0, 0, 0]


def named(error):
    """What an error says of arguments; since Python 3.14, pickle adds notes as well."""
    return [note for note in error.__notes__ if not note.startswith("when serializing")]


def test_what_can_not_be_pickled_is_named_and_leaves_nothing_behind(directory):
    tasklist, generator = TaskList(directory), (1 for _ in "ab")
    for task, metadata, name in [
        (defer(abs, generator), 1, "argument 0 of abs"),
        (defer(dict, x=defer(abs, 1), y=generator), 1, "argument 'y' of dict"),
        (defer(abs, 1), generator, "argument 'metadata' of schedule"),
    ]:
        with pytest.raises(TypeError, match="generator") as raised:
            tasklist.schedule(task, metadata)
        [note] = named(raised.value)
        assert name in note and "generator" in note
    assert files_in(directory) == ["done", "fail", "todo"]


def test_only_the_call_whose_argument_can_not_be_pickled_is_named(directory):
    task = defer(len, [1 for _ in "ab"])
    for generator in [None] * 99 + [(1 for _ in "ab")] + [None] * 999:
        task = defer(print, [task], generator, sep=task)
    with pytest.raises(TypeError, match="pickle") as raised:
        TaskList(directory).schedule(task)
    assert named(raised.value) == ["It is in argument 1 of print, a generator."]


def test_a_file_is_loaded_with_dill_or_pickle_by_hand(script):
    script.run("""
from runforrest import TaskList, defer

class Mine:
    pass

def halve(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number / 2

tasklist = TaskList("tasklist")
for number in range(2):
    tasklist.schedule(defer(halve, number), metadata=number)
assert len(list(tasklist.run())) == 2
""")
    output = script.run(
        """
import pickle
from pathlib import Path
import dill

for load in (dill.load, pickle.load):
    for file in [*Path("tasklist/done").iterdir(), *Path("tasklist/fail").iterdir()]:
        task = load(open(file, "rb"))
        print(type(task).__name__, task.returnvalue, repr(task.errorvalue),
              task.metadata, 0 < task.runtime < 10)
""",
        name="by_hand.py",
    )
    assert output.splitlines() == 2 * [
        "Task 0.0 None 0 True",
        "Task None ValueError('1 is odd') 1 True",
    ]


def test_another_script_reads_the_tasks_without_having_their_functions(script):
    script.run("""
from runforrest import TaskList, defer

class Argument:
    def __setstate__(self, state):
        print("an argument was loaded")

def halve(number, argument):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number / 2

tasklist = TaskList("tasklist")
for number in range(2):
    tasklist.schedule(defer(halve, number, Argument()), metadata={"number": number})
print(len(list(tasklist.run())))
tasklist.schedule(defer(halve, 2, Argument()), metadata={"number": 2})
""")
    output = script.run(
        """
import __main__
from runforrest import TaskList

tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
before = dict(vars(__main__))
(todo,), (done,), (fail,) = (
    tasklist.todo_tasks(), tasklist.done_tasks(), tasklist.fail_tasks()
)
print(todo.metadata)
print(done.metadata, done.returnvalue, done.errorvalue, 0 < done.runtime < 10)
print(fail.metadata, fail.returnvalue, repr(fail.errorvalue), 0 < fail.runtime < 10)
print("".join(fail.errorvalue.__notes__))
""",
        name="another.py",
    )
    lines = output.splitlines()
    assert lines[:3] == [
        "{'number': 2}",
        "{'number': 0} 0.0 None True",
        "{'number': 1} None ValueError('1 is odd') True",
    ]
    assert 'raise ValueError(f"{number} is odd")' in output
    assert "an argument was loaded" not in output


def test_a_result_whose_class_only_its_script_has_does_not_stop_a_listing(script):
    script.run("""
from runforrest import TaskList, defer

class Mine:
    pass

tasklist = TaskList("tasklist")
tasklist.schedule(defer(Mine), metadata="mine")
tasklist.schedule(defer(abs, -1), metadata="yours")
for task in tasklist.run():
    assert task.errorvalue is None
""")
    output = script.run(
        """
from runforrest import TaskList

for task in TaskList("tasklist", exist_ok=True, pre_clean=False).done_tasks():
    print(task.metadata, task.returnvalue, task.errorvalue)
""",
        name="another.py",
    )
    mine, yours = output.splitlines()
    assert mine.startswith("mine None ")
    assert "Mine" in mine
    assert yours == "yours 1 None"


def test_another_script_runs_the_tasks_and_keeps_its_own_definitions(script):
    script.run("""
from runforrest import TaskList, defer

OFFSET = 10
def helper(number):
    return number + OFFSET
def work(number):
    return helper(number)

tasklist = TaskList("tasklist")
tasklist.schedule(defer(work, 1))
""")
    output = script.run(
        """
import sys
import __main__
import runforrest

OFFSET = "mine"
def helper():
    return "mine"

tasklist = runforrest.TaskList("tasklist", exist_ok=True, pre_clean=False)
task = None
before, path = dict(vars(__main__)), list(sys.path)
for _ in tasklist.todo_tasks():
    pass
for task in tasklist.run():
    print(task.returnvalue, task.errorvalue)
for _ in tasklist.done_tasks():
    pass
after = {name: vars(__main__)[name] for name in before}
del before["task"], after["task"]
assert after == before
assert set(vars(__main__)) - set(before) <= {"task", "before", "path", "_", "after"}
assert sys.path == path
print(helper(), OFFSET)
""",
        name="another.py",
    )
    assert output.splitlines() == ["11 None", "mine mine"]


# Copy files from fail to todo ---------------------------------------------------------


@pytest.mark.parametrize("carry", [shutil.copy, shutil.move], ids=["cp", "mv"])
def test_a_failed_task_runs_again_when_its_file_is_brought_back(
    carry, directory, tmp_path
):
    tasklist = TaskList(directory)
    tasklist.schedule(defer(os.listdir, tmp_path / "missing"), metadata="important")
    (task,) = tasklist.run()
    assert type(task.errorvalue) is FileNotFoundError

    (path,) = (directory / "fail").iterdir()
    carry(path, directory / "todo")
    (tmp_path / "missing").mkdir()
    (task,) = tasklist.run()

    assert (task.returnvalue, task.errorvalue, task.metadata) == ([], None, "important")
    assert counts(directory) == [0, 1, 0]


@pytest.mark.parametrize("carry", [shutil.copy, shutil.move], ids=["cp", "mv"])
def test_a_failed_task_that_fails_again_is_in_fail_with_its_new_error(
    carry, directory, tmp_path
):
    tasklist = TaskList(directory)
    tasklist.schedule(defer(os.listdir, tmp_path / "x"))
    list(tasklist.run())
    (path,) = (directory / "fail").iterdir()
    carry(path, directory / "todo")
    (tmp_path / "x").write_text("this is not a directory")
    (task,) = tasklist.run()
    assert type(task.errorvalue) is NotADirectoryError
    assert [type(t.errorvalue) for t in tasklist.fail_tasks()] == [NotADirectoryError]
    assert counts(directory) == [0, 0, 1]


def test_a_file_may_have_another_name(directory):
    tasklist = fill(directory)
    (path,) = (directory / "done").iterdir()
    shutil.copy(path, directory / "todo" / "once more (2).pkl")
    assert len(list(tasklist.run())) == 2
    assert (directory / "done" / "once more (2).pkl").exists()
    assert counts(directory) == [0, 3, 1]


def test_a_task_brought_back_has_its_old_outcome_until_it_runs(directory):
    tasklist = fill(directory)
    (path,) = (directory / "fail").iterdir()
    shutil.move(path, directory / "todo")
    outcomes = {task.metadata: task for task in tasklist.todo_tasks()}
    assert set(outcomes) == {"todo", "fail"}
    assert type(outcomes["fail"].errorvalue) is ZeroDivisionError


# Clean up -----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", STATES)
def test_clean_keeps_what_it_is_told_to_keep(kept, directory):
    fill(directory).clean(**{f"clean_{kept}": False})
    (path,) = directory.rglob("*.pkl")
    assert path.parent == directory / kept


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


def test_clean_removes_what_a_killed_run_left(script, directory):
    process = script.start("""
import os
import signal
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(os.kill, os.getpid(), signal.SIGKILL))
list(tasklist.run(save_session=True))
""")
    process.communicate(timeout=60)
    assert process.returncode < 0
    TaskList(directory, exist_ok=True).clean()
    assert not directory.exists()


def test_clean_removes_what_was_not_written_to_its_end(directory):
    tasklist = fill(directory)
    (task,) = (directory / "done").iterdir()
    for name in (
        "todo/.session.pkl.tmp",
        f"todo/{task.name}.tmp",
        f"done/{task.name}.tmp",
    ):
        (directory / name).write_bytes(b"half of i")
    tasklist.clean()
    assert not directory.exists()


def leave_files_of_the_user(directory):
    """Put files of all kinds everywhere in a directory, and return their names."""
    others = set(files_in(directory)) - set(STATES)
    for place in (directory, *(directory / state for state in STATES)):
        place.mkdir(exist_ok=True)
        for name in (
            "notes.txt",
            "zebra.txt",
            ".hidden",
            "2024",
            "20240131.csv",
            "20240131235959123456.csv",
            "123456789012345678-123456789.pkl",
            "data.pkl",
            "session.pkl",
            "data.pkl.out",
            "data.pkl.tmp",
            "1795432059362737564-95f403c9.pkl.png",
            "1795432059362737564-95f403c9.txt",
        ):
            (place / name).write_bytes(dill.dumps("todo done fail"))
        (place / "empty.pkl").touch()
        (place / "models.pkl").mkdir()
        (place / "models.pkl" / "model").touch()
        (place / "dangling.pkl").symlink_to("nowhere")
        (place / "link.pkl").symlink_to(place / "notes.txt")
        os.mkfifo(place / "pipe.pkl")
    return sorted(set(files_in(directory)) - others)


def clean_in_a_script(directory):
    source = "from runforrest import TaskList; TaskList('.', exist_ok=True).clean()"
    subprocess.run(
        [sys.executable, "-c", source], cwd=directory, timeout=30, check=True
    )


def test_clean_never_removes_a_file_of_the_user(directory):
    directory.mkdir()
    files = leave_files_of_the_user(directory)
    clean_in_a_script(directory)
    assert files_in(directory) == files


def test_clean_finds_its_own_files_among_those_of_the_user(directory):
    fill(directory)
    files = leave_files_of_the_user(directory)
    clean_in_a_script(directory)
    assert files_in(directory) == files


def test_a_copy_of_a_task_file_elsewhere_is_the_users(directory):
    tasklist = fill(directory)
    (path,) = (directory / "fail").iterdir()
    list(tasklist.run(save_session=True))
    shutil.copy(path, directory / "result.pkl")
    tasklist.clean()
    assert files_in(directory) == ["result.pkl"]


def test_two_can_clean_the_same_directory_at_the_same_time(directory):
    tasklist = TaskList(directory)
    for _ in range(20):
        tasklist.schedule(defer(abs, -1))
    for path in list((directory / "todo").iterdir()):
        for number in range(20):
            name = f"{str(number).zfill(19)}{path.name[19:]}"
            os.link(path, directory / "todo" / name)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(tasklist.clean) for _ in range(4)]:
            done.result()
    assert not directory.exists()


def test_a_copy_of_a_task_list_does_not_remove_it(directory):
    tasklist = TaskList(directory, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    copies = [copy.copy(tasklist), dill.loads(dill.dumps(tasklist))]
    assert {repr(one) for one in copies} == {repr(tasklist)}
    del copies
    gc.collect()
    assert counts(directory) == [1, 0, 0]


def test_a_task_list_does_not_remove_what_a_newer_one_has_scheduled(directory):
    old = TaskList(directory, post_clean=True)
    new = TaskList(directory, exist_ok=True, post_clean=True)
    new.schedule(defer(abs, -1))
    del old
    gc.collect()
    assert [task.returnvalue for task in new.run()] == [1]
    del new
    gc.collect()
    assert not directory.exists()


def test_a_task_list_does_not_remove_what_a_newer_one_shall_keep(directory):
    old = TaskList(directory, post_clean=True)
    TaskList(directory, exist_ok=True).schedule(defer(abs, -1))
    del old
    gc.collect()
    assert counts(directory) == [1, 0, 0]


def test_a_result_has_the_time_at_which_it_was_finished(directory):
    begin = int(time.time())  # file systems may keep no more than that
    fill(directory)
    for state in "done", "fail":
        (path,) = (directory / state).iterdir()
        assert begin <= path.stat().st_mtime <= time.time()


def test_results_may_be_kept_on_another_disk(directory, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if Path(elsewhere).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is only one file system here")
        tasklist = TaskList(directory)
        (directory / "done").rmdir()
        (directory / "done").symlink_to(elsewhere)
        tasklist.schedule(defer(abs, -1))
        assert [task.returnvalue for task in tasklist.run()] == [1]
        assert [task.returnvalue for task in tasklist.done_tasks()] == [1]
        assert len(list(Path(elsewhere).iterdir())) == 1


@pytest.mark.parametrize("keep", ["", "sys.kept = tasklist"])
def test_a_task_list_that_lives_as_long_as_its_script_is_removed_with_it(keep, script):
    process = script.start(f"""
import sys
from runforrest import TaskList, defer

def one():
    return 1

tasklist = TaskList("tasklist", post_clean=True)
tasklist.schedule(defer(one))
for task in tasklist.run():
    print(task.returnvalue)
{keep}
""")
    assert process.communicate(timeout=60) == ("1\n", "")
    assert files_in(script.directory) == ["script.py"]


def test_a_task_list_is_removed_with_its_script_in_the_midst_of_a_run(script):
    script.run("""
import time
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", post_clean=True)
for _ in range(30):
    tasklist.schedule(defer(time.sleep, 0.02))
results = iter(tasklist.run())
next(results)
""")
    assert not (script.directory / "tasklist").exists()


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
print(tasklist)
""")
    assert "todo=1" in output
    assert files_in(script.directory) == ["script.py"]


def test_post_clean_never_removes_a_file_of_the_user(directory):
    tasklist = TaskList(directory, post_clean=True)
    tasklist.schedule(defer(abs, -1))
    (directory / "todo" / "notes.txt").touch()
    del tasklist
    gc.collect()
    assert files_in(directory) == ["todo", "todo/notes.txt"]


def test_a_users_directory_that_is_full_of_files_can_hold_a_task_list(script):
    script.write("precious", "precious.txt")
    output = script.run("""
from pathlib import Path
from runforrest import TaskList, defer

tasklist = TaskList(".", exist_ok=True, post_clean=True)
tasklist.schedule(defer(abs, -1))
for task in tasklist.run():
    print(task.returnvalue)
""")
    assert output == "1\n"
    assert files_in(script.directory) == ["precious.txt", "script.py"]


def test_a_task_list_that_is_sent_to_a_task_cleans_nothing_there(script):
    output = script.run("""
from pathlib import Path
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", post_clean=True)

def look():
    return repr(tasklist)

for _ in range(2):
    tasklist.schedule(defer(look))
for task in tasklist.run(nprocesses=1):
    assert task.errorvalue is None, task.errorvalue
print(len(list(tasklist.done_tasks())))
""")
    assert output == "2\n"


# Keep a log ---------------------------------------------------------------------------


def test_the_log_tells_when_which_task_went_where(script):
    log = script.directory / "log"
    log.write_text("what was here before\n")
    earliest = datetime.now().astimezone() - timedelta(seconds=2)
    script.run("""
from runforrest import TaskList, defer

tasklist = TaskList("tasklist", logfile="log")
for divisor in range(2):
    tasklist.schedule(defer(divmod, 7, divisor))
for task in tasklist.run(nprocesses=1):
    pass
""")
    first, *lines = log.read_text().splitlines()
    assert first == "what was here before"
    (fail,) = (script.directory / "tasklist" / "fail").iterdir()
    (done,) = (script.directory / "tasklist" / "done").iterdir()
    times, names, events = zip(*(line.split() for line in lines), strict=True)
    assert list(zip(names, events, strict=True)) == [
        (fail.name, "schedule"),
        (done.name, "schedule"),
        (fail.name, "start"),
        (fail.name, "fail"),
        (done.name, "start"),
        (done.name, "done"),
    ]
    assert list(times) == sorted(times)
    for text in times:
        moment = datetime.fromisoformat(text).astimezone()
        assert earliest <= moment <= datetime.now().astimezone()


PRINT_EVERYWHERE = """
import os
import sys
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
"""

SPOKEN = ["printed", "from a child", "unfinished"]
COMPLAINED = ["complained", "error from a child"]


def test_what_tasks_print_is_in_the_log(script):
    output = script.run(PRINT_EVERYWHERE.format(logfile="log"))
    text = (script.directory / "log").read_text()
    assert all(words in text for words in SPOKEN + COMPLAINED)
    assert output == ""


def test_what_tasks_print_is_seen_without_a_log(script):
    process = script.start(PRINT_EVERYWHERE.format(logfile=None))
    output, errors = process.communicate(timeout=60)
    assert all(words in output for words in SPOKEN)
    assert all(words in errors for words in COMPLAINED)


def test_a_log_that_can_not_be_written_is_an_error_that_loses_nothing(
    directory, tmp_path
):
    with pytest.raises(FileNotFoundError, match="logs/log"):
        TaskList(directory, logfile=tmp_path / "logs" / "log")
    (tmp_path / "logs").mkdir()
    tasklist = TaskList(directory, exist_ok=True, logfile=tmp_path / "logs" / "log")
    shutil.rmtree(tmp_path / "logs")
    tasklist.schedule(defer(abs, -1))
    with pytest.raises(FileNotFoundError, match="logs/log"):
        list(tasklist.run())
    assert counts(directory) == [1, 0, 0]
    (tmp_path / "logs").mkdir()
    assert [task.returnvalue for task in tasklist.run()] == [1]
