"""Graphs of tasks: what they are made of, what they mean, and what they refuse."""

import copy
import hashlib
import operator
import pickle

import dill
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runforrest import Task, TaskList, defer, evaluate


def run(task, directory):
    """Run a task in a process of its own, and return what it returned."""
    tasklist = TaskList(directory, exist_ok=True)
    tasklist.schedule(task)
    (finished,) = tasklist.run()
    if finished.errorvalue:
        raise finished.errorvalue
    return finished.returnvalue


# Any graph means what plain Python means by the same expression -----------------------


class Term:
    """Takes any attribute, item and call, and equals what had the same done to it."""

    made = 0

    def __init__(self, *args, **kwargs):
        Term.made += 1
        self.history = digest([args, kwargs])

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Term(self, "attribute", name)

    def __getitem__(self, key):
        return Term(self, "item", key)

    def __call__(self, /, *args, **kwargs):
        return Term(self, "call", args, kwargs)

    def __eq__(self, other):
        return type(other) is Term and self.history == other.history

    def __hash__(self):
        return hash(self.history)

    def __repr__(self):
        return self.history


def digest(value):
    """A short text that differs if the values do, in their types too."""
    if type(value) is dict:
        parts = [digest(item) for item in value.items()]
    elif type(value) in (set, frozenset):
        parts = sorted(digest(item) for item in value)
    elif type(value) in (list, tuple):
        parts = [digest(item) for item in value]
    else:
        parts = [repr(value)]
    text = f"{type(value).__name__}: {parts}"
    return hashlib.sha1(text.encode()).hexdigest()


class Earlier(int):
    """Stands for the result of an earlier step of a program."""


def build(program, call):
    """Write down a program, the steps of which use the results of earlier ones.

    With `defer` for the call this makes a graph of tasks, else it is plain Python.
    """
    results = [call(Term, "start")]

    def fill_in(shape):
        if type(shape) is Earlier:
            return results[shape % len(results)]
        if type(shape) is dict:
            return {fill_in(key): fill_in(value) for key, value in shape.items()}
        if type(shape) in (list, tuple, set, frozenset):
            return type(shape)(fill_in(part) for part in shape)
        return shape

    for kind, target, name, shape, args, kwargs in program:
        target = fill_in(target)
        if kind == "attribute":
            results.append(getattr(target, name))
        elif kind == "item":
            results.append(target[fill_in(shape)])
        elif kind == "call the result":
            results.append(target(*fill_in(args), **fill_in(kwargs)))
        else:
            results.append(call(Term, *fill_in(args), **fill_in(kwargs)))
    return call(list, results)


def plainly(fun, /, *args, **kwargs):
    return fun(*args, **kwargs)


names = st.sampled_from(["x", "_x", "fun", "args", "metadata", "runtime", "ü"])
earlier = st.integers(0, 20).map(Earlier)
leaves = earlier | st.sampled_from([None, True, 0, 1, -1, 0.5, "", "x", b"x"])
hashables = leaves | st.tuples(leaves, leaves) | st.frozensets(leaves, max_size=3)
shapes = st.recursive(
    hashables | st.sets(hashables, max_size=3),
    lambda part: (
        st.lists(part, max_size=3)
        | st.tuples(part, part)
        | st.dictionaries(hashables, part, max_size=3)
    ),
    max_leaves=5,
)
steps = st.tuples(
    st.sampled_from(["attribute", "item", "call the result", "call"]),
    earlier,
    names,
    shapes,
    st.lists(shapes, max_size=2),
    st.dictionaries(names, shapes, max_size=2),
)
programs = st.lists(steps, max_size=8)


@settings(deadline=None, database=None, max_examples=60)
@given(programs)
def test_a_graph_evaluates_to_what_plain_python_does_and_each_task_runs_once(program):
    before = Term.made
    expected = build(program, plainly)
    calls = Term.made - before
    assert evaluate(build(program, defer)) == expected
    assert Term.made - before == 2 * calls


def test_graphs_run_to_what_plain_python_does(tmp_path):
    batch = []

    @settings(deadline=None, database=None, max_examples=60)
    @given(programs)
    def collect(program):
        batch.append(program)

    collect()
    results = run(defer(list, [build(program, defer) for program in batch]), tmp_path)
    assert len(batch) >= 50
    for program, result in zip(batch, results, strict=True):
        assert result == build(program, plainly), program


# What a task evaluates to -------------------------------------------------------------


def test_a_value_that_is_not_callable_is_what_its_task_evaluates_to():
    value = [1, 2]
    assert evaluate(defer(value)) is value
    assert evaluate(defer([defer(abs, -1), 2])) == [1, 2]
    assert evaluate(defer(4j).imag) == 4


def test_the_function_may_be_a_task_and_keyword_arguments_may_have_any_name():
    names = dict.fromkeys(["self", "fun", "args", "kwargs", "task", "name", "key"], 1)
    assert evaluate(defer(dict, **names)) == names
    assert evaluate(defer(defer(getattr, dict, "fromkeys"), names, 1)) == names
    assert evaluate(defer(lambda: dict)(**names)) == names


def test_arguments_for_what_is_not_callable_are_an_error():
    with pytest.raises(TypeError, match="not callable"):
        evaluate(defer(abs(-1), 2))


def test_an_error_comes_out_of_evaluate_as_it_was_raised():
    error = KeyError("mine")

    def fail():
        raise error

    with pytest.raises(KeyError) as caught:
        evaluate(defer(abs, defer(fail).thing))
    assert caught.value is error


def test_data_without_tasks_passes_through_as_the_same_object():
    class List(list):
        pass

    inner = [{"a": (1, {2, 3})}, frozenset([4]), List()]
    for data in (inner, tuple(inner), {"b": inner}, {5, 6}, List(inner), object()):
        assert evaluate(defer(lambda x: x, data)) is data
        assert evaluate(defer(lambda x, _: x, data, defer(abs, 1))) is data
        assert evaluate(defer(lambda x: x[0], [data, defer(abs, 1)])) is data


def test_containers_keep_their_types_and_their_order_and_are_not_changed():
    def same(value):
        return defer(lambda: value)

    data = [(same(1), 2), {same("b"): 1, "a": same(2)}, frozenset([same(3)]), {same(4)}]
    before, result = copy.deepcopy(data), evaluate(defer(list, data))
    assert data == before
    assert result == [(1, 2), {"b": 1, "a": 2}, frozenset([3]), {4}]
    assert [type(part) for part in result] == [tuple, dict, frozenset, set]
    assert list(result[1]) == ["b", "a"]


def test_data_that_refer_to_each_other_are_searched_once():
    """Else this would take longer than the universe exists."""
    nodes = [{"neighbours": []} for _ in range(100)]
    for node in nodes:
        node["neighbours"] = [other for other in nodes if other is not node]
    assert evaluate(defer(len, nodes)) == 100
    pair, task = [1, 2], defer(abs, -1)
    for _ in range(100):
        pair = [pair, pair]
    assert evaluate(defer(len, [pair, task])) == 2


def test_a_task_runs_once_however_many_others_use_it():
    calls = []
    task = defer(calls.append, "shared")
    left, right = defer(lambda _: 1, task), defer(lambda _: 2, [task, (task,)])
    assert evaluate(defer(list, [left, right, {task: left}])) == [1, 2, {None: 1}]
    assert calls == ["shared"]
    evaluate(right)
    assert calls == ["shared", "shared"]


def test_a_graph_with_two_to_the_hundred_paths_is_evaluated_in_a_hundred_calls():
    task = defer(int, 1)
    for _ in range(100):
        task = defer(operator.add, task, task)
    assert evaluate(task) == 2**100


def test_data_that_contains_itself_is_an_ordinary_argument(tmp_path):
    data = []
    data.append({"itself": data})
    assert evaluate(defer(lambda x: x, data)) is data
    assert evaluate(defer(lambda x, _: x, data, defer(abs, 1))) is data
    result = run(defer(operator.getitem, data, slice(None)), tmp_path)
    assert result[0]["itself"][0] is result[0]


@pytest.mark.parametrize("container", [list, dict])
def test_a_task_that_needs_itself_is_an_error(container, tmp_path):
    data = container()
    task = defer(len, [defer(id, data)])
    data.update({1: task}) if container is dict else data.append(task)
    with pytest.raises(ValueError):
        evaluate(task)
    tasklist = TaskList(tmp_path, exist_ok=True)
    with pytest.raises(ValueError):
        tasklist.schedule(task)
    assert not list(tasklist.todo_tasks())


def test_a_graph_of_a_hundred_thousand_calls_may_be_wide():
    task = defer(sum, [defer(abs, -number) for number in range(100_000)])
    assert evaluate(task) == 4_999_950_000


def test_a_graph_of_a_hundred_thousand_calls_may_be_deep_also_in_a_file(script):
    script.run("""
from runforrest import TaskList, defer

task = defer(int)
for _ in range(50_000):
    task = defer(divmod, task, 1)[0]  # which is two calls
tasklist = TaskList("tasklist")
tasklist.schedule(task)
(finished,) = tasklist.run()
assert finished == task and finished.returnvalue == 0, finished.errorvalue
""")


# What the proxy takes and refuses -----------------------------------------------------


def test_names_with_two_leading_underscores_are_attribute_errors():
    task = defer(abs, -1)
    for name in ("__array__", "__len__", "__wrapped__", "__file__", "__mine", "__"):
        assert not hasattr(task, name)
        with pytest.raises(AttributeError, match=name):
            getattr(task, name)


def test_names_with_a_single_underscore_are_attributes_like_others():
    class Thing:
        _private = 1
        public_ = 2
        T = 3

    thing = defer(Thing)
    assert evaluate(thing._private) == 1
    assert evaluate(thing.public_) == 2
    assert evaluate(thing.T) == 3


@pytest.mark.parametrize(
    "misuse",
    [
        *(iter, len, list, tuple, dict, sum, reversed, ", ".join),
        lambda task: 1 in task,
        lambda task: [*task],
        lambda task: print(**task),
        lambda task: next(part for part in task),
        lambda task: task + 1,
        lambda task: task < task,
        lambda task: operator.setitem(task, 0, 1),
    ],
)
def test_what_a_task_can_not_tell_before_it_has_run_is_a_type_error(misuse):
    with pytest.raises(TypeError):
        misuse(defer(list, "abc"))
    with pytest.raises(TypeError):
        _first, _second = defer(divmod, 7, 2)


def test_tasks_are_true_and_hashable_and_equal_to_themselves_alone():
    task, same_call = defer(abs, -1), defer(abs, -1)
    assert task == task
    assert task != same_call
    assert task.x != task.x
    assert bool(task) is bool(task[1].x()) is True
    assert {task: 1, same_call: 2}[task] == 1
    assert len({task, same_call, task}) == 2
    assert same_call != task


def test_to_compare_a_task_never_raises():
    class Quarrelsome:
        def __eq__(self, other):
            raise RuntimeError("don't compare me")

        __hash__ = None
        __getattr__ = __eq__

    numpy = pytest.importorskip("numpy")
    for other in (
        Quarrelsome(),
        numpy.array([1, 2]),
        None,
        NotImplemented,
        float("nan"),
        Task,
        1,
        "x",
        [],
    ):
        assert (defer(abs, -1) == other) is False
        assert (defer(abs, -1) != other) is True


def test_a_task_equals_its_copies_in_todo_done_and_fail(tmp_path):
    tasks = {defer(divmod, 1, number): number for number in range(4)}
    tasklist = TaskList(tmp_path, exist_ok=True)
    for task in tasks:
        tasklist.schedule(task)
    assert list(tasklist.todo_tasks()) == list(tasks)
    assert {tasks[task] for task in tasklist.run()} == {0, 1, 2, 3}
    assert list(tasklist.fail_tasks()) == list(tasks)[:1]
    assert list(tasklist.done_tasks()) == list(tasks)[1:]


def test_items_attributes_and_keys_of_different_types_all_differ(tmp_path):
    class Things(dict):
        x = "attribute x"

    things = defer(Things, {"x": "item x", 1: {2: "1, 2"}, "1": "text", (1, 2): "two"})
    accesses = [things["x"], things.x, things[1], things["1"], things[1][2]]
    accesses += [things[1, defer(int, "2")], things["1"][1:]]
    expected = ["item x", "attribute x", {2: "1, 2"}, "text", "1, 2", "two", "ext"]
    assert [evaluate(access) for access in accesses] == expected
    assert run(defer(list, accesses), tmp_path) == expected


# Who looks at a task and must not fall for it -----------------------------------------


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda task: pickle.loads(pickle.dumps(task)),
        lambda task: dill.loads(dill.dumps(task)),
    ],
    ids=["copy", "deepcopy", "pickle", "dill"],
)
def test_a_copy_of_a_task_is_a_task(duplicate):
    task = defer(divmod, 7, defer(max, [1, 2]))[0].real
    duplicated = duplicate(task)
    assert type(duplicated) is Task
    assert duplicated == task
    assert evaluate(duplicated) == 3
    assert [duplicate([task])] == [[task]]
