"""Run many function calls, each in a process of its own, and lose none of them.

    from runforrest import TaskList, defer

    tasklist = TaskList("tasklist")
    for item in long_list_of_stuff:
        task = defer(prepare, item)
        task = defer(dostuff, task[1], task.thing)
        tasklist.schedule(task)
    for task in tasklist.run(nprocesses=4):
        result = task.returnvalue  # or task.errorvalue

Every `schedule` writes a file to `tasklist/todo`. `run` executes each file in a
process of its own, and moves it to `tasklist/done`, or to `tasklist/fail` if anything
went wrong. A file that is copied from there to `todo` runs again. To run one by hand,
in a debugger:

    python -m pdb -m runforrest tasklist/fail/NAME.pkl result.pkl --do_raise

The infile is never changed; the outfile is written whole or not at all. The exit code
is 0 for a success, and 1 for a failure.
"""

# Every task starts this module in a process of its own, so what is imported here is the
# price of every task. What only the caller needs is imported where it is used.
import _pickle as pickle  # the part of it that is written in C, at a third of the price
import _signal  # to import signal takes too long
import _thread
import builtins
import copyreg
import importlib
import io
import marshal
import operator
import os
import sys
import time
import types
from functools import cache, partial, partialmethod, reduce
from graphlib import TopologicalSorter
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from zlib import crc32

try:
    import fcntl
except ImportError as error:
    raise ImportError("runforrest needs a POSIX system: Linux, macOS, WSL") from error

__version__ = "1.0.0"
_is_program = _is_loading = __name__ == "__main__"
if _is_program:  # be the module that task files refer to; __main__ is the script's
    __name__ = "runforrest"
    sys.modules[__name__] = sys.modules["__main__"]
__all__ = ["Task", "TaskList", "defer", "evaluate"]


class suppress:
    """Like that of contextlib, whose import would take 3 % of a small task's time."""

    def __init__(self, *errors):
        self.errors = errors

    def __enter__(self):
        pass

    def __exit__(self, kind, error, traceback):
        return isinstance(error, self.errors)


# Build the graph ----------------------------------------------------------------------


_OUTCOME = "returnvalue", "errorvalue"


class Task:
    """A call that has not been made yet, or one that was read from a file.

    Attributes, items and calls of a task are tasks again: `task.thing`, `task[1]`,
    `task.method(2)`; only names with two leading underscores are not. A task that was
    read from a file has its `metadata`, and after it has run

    returnvalue: what the call returned, or None
    errorvalue: what it raised, with the traceback as a note; None if it went well
    runtime: how long it took, in seconds
    """

    def __init__(self, fun, args, kwargs):
        self.__node__ = fun, args, kwargs
        self.__id__ = os.urandom(16)

    def __getattr__(self, name):
        sealed = vars(self).get("__sealed__", {})
        if name in sealed:
            # The calls that a node needs are sealed in one list with it, as a pickle of
            # calls in calls in calls would exceed the recursion limit.
            value = sealed[name]()[-1] if name == "__node__" else sealed[name]()
            return vars(self).setdefault(name, value)
        # One that has run, or was read, has a runtime, and is no part of a graph.
        if name[:2] == "__" or name in _OUTCOME or "runtime" in vars(self):
            raise AttributeError(f"this task has no {name!r} (has it run?)")
        return Task(getattr, (self, name), {})

    def __setattr__(self, name, value):
        if name[:2] != "__" and "runtime" not in vars(self):
            raise TypeError(f"{self} can't be changed: tag it with schedule's metadata")
        super().__setattr__(name, value)

    def __getitem__(self, key):
        return Task(operator.getitem, (self, key), {})

    def __call__(self, /, *args, **kwargs):
        return Task(self, args, kwargs)

    def __iter__(self):  # or Python would try task[0], task[1], ... for ever
        raise TypeError(f"{self} can't be iterated or searched before it is evaluated")

    def __eq__(self, other):
        return type(other) is Task and self.__id__ == other.__id__

    def __hash__(self):
        return hash(self.__id__)

    def __repr__(self):
        return f"<Task {self.__id__.hex()[:8]}>"


def defer(fun, /, *args, **kwargs):
    """Return a task that will call `fun(*args, **kwargs)` when it is evaluated.

    The function and the arguments may be tasks, or lists, tuples, sets and dicts with
    tasks in them. If `fun` is not callable, the task evaluates to `fun` itself.
    """
    if callable(fun):
        return Task(fun, args, kwargs)
    if args or kwargs:
        raise TypeError(f"{fun!r} isn't callable: write defer(f, x), not defer(f(x))")
    return Task(operator.getitem, ([fun], 0), {})


# Evaluate it --------------------------------------------------------------------------


def evaluate(task):
    """Make all the calls of a task, each once; return the value of the last one.

    The tasks may also be in a list, a tuple, a set or a dict.
    """
    results = {}
    for call in _in_order(task):
        fun, args, kwargs = _resolve(call.__node__, results)
        results[call] = fun(*args, **kwargs)
    return _resolve(task, results)


def _in_order(task):
    """List all tasks that a task is made of, and itself last: no task before its parts.

    A CycleError is raised if it is made of itself.
    """
    needs, stack = {}, list(_tasks_in(task))
    while stack:
        call = stack.pop()
        if call not in needs:
            needs[call] = list(_tasks_in(call.__node__))
            stack.extend(needs[call])
    return list(TopologicalSorter(needs).static_order())


_CONTAINERS = {list, tuple, set, frozenset, dict}


def _tasks_in(data):
    stack, seen = [data], set()
    while stack:
        item = stack.pop()
        if type(item) is Task:
            yield item
        elif type(item) in _CONTAINERS and id(item) not in seen:
            seen.add(id(item))
            parts = [*item, *item.values()] if type(item) is dict else list(item)
            if not (_CONTAINERS | {Task}).isdisjoint(map(type, parts)):
                stack.extend(reversed(parts))  # to find the first one first


def _resolve(data, results):
    """Replace the tasks in data; what contains none is passed on as the same object."""
    if type(data) is Task:
        return results[data]
    if not any(_tasks_in(data)):
        return data
    parts = data.items() if type(data) is dict else data
    return type(data)(_resolve(part, results) for part in parts)


# Turn it into bytes, with all that it needs of the script -----------------------------


def _seal(value, names, buffers=None, shared=()):
    """Pickle a value, and note the names of the script's globals that it refers to.

    Return a function that restores the value, and can be pickled whatever the value is.

    buffers: a list to put large arrays in without copying them; all values that are
        restored share them
    shared: a dictionary of id to name of those globals that the value itself contains
    """
    try:
        share = None if buffers is None else buffers.append
        pickled = _dump(pickle, [value], names, shared=shared, buffer_callback=share)
        return partial(pickle.loads, pickled, buffers=buffers)
    except Exception:  # dill can pickle more, but takes much longer
        import dill

        pickled = _dump(dill, [value], names, shared=shared)
        return partial(pickle.loads, pickled)


def _dump(library, values, names, by_value=False, shared=(), **options):
    """Pickle values one after the other, with one memory of what there was already."""
    stream = io.BytesIO()
    pickler = _pickler(library.Pickler)(stream, 5, **options)
    pickler.names, pickler.by_value, pickler.shared = names, by_value, shared
    pickler.scopes = {}
    for value in values:
        pickler.dump(value)
    return stream.getvalue()


@cache
def _pickler(kind):
    return type("Pickler", (kind,), {"reducer_override": _reduce})


def _load_all(pickled):
    """Yield these values, up to a None; each is loaded when the one before was used."""
    return iter(pickle.Unpickler(io.BytesIO(pickled)).load, None)


_NAMED = type, FunctionType, type(cache(id))  # what functools.cache makes has a name
_MEMBER = types.MemberDescriptorType  # what is in a slot, or in C
_LOCKS = {_thread.RLock: _thread.RLock, _thread.LockType: _thread.allocate_lock}
_TYPING = "NewType", "ParamSpec", "TypeAliasType", "TypeVar"  # dill sends their names


def _reduce(pickler, obj):
    """Say how to restore an object that pickle, and dill, can't, or restore wrongly.

    As all such functions, return a function, its arguments, and what to put into the
    object that it makes, after that is known to others; or a name; or NotImplemented.
    """
    kind = type(obj)
    if id(obj) in pickler.shared:
        getter = operator.attrgetter(pickler.shared[id(obj)])
        return getter, (sys.modules["__main__"],)
    if isinstance(obj, _NAMED):
        return _reduce_named(pickler, obj)
    if kind is CellType:  # empty first, as it may contain the function it belongs to
        contents = {"cell_contents": obj.cell_contents} if obj != CellType() else {}
        # That calls types.CellType(), as pickle would look for it under another name.
        return operator.methodcaller("CellType"), (types,), (None, contents)
    if kind is CodeType:
        return marshal.loads, (marshal.dumps(obj),)
    if kind is ModuleType:
        if sys.modules.get(obj.__name__) is not obj:
            raise TypeError(f"{obj!r} can't be imported by its name")
        return importlib.import_module, (obj.__name__,)
    if kind is MethodType:
        name, parts = getattr(obj, "__name__", ""), (obj.__func__, obj.__self__)
        if getattr(obj.__self__, name, None) != obj:  # but a wrapper's, or super()'s
            return operator.methodcaller("MethodType", *parts), (types,)
    if kind in _LOCKS:  # dill would restore them as locked
        return _LOCKS[kind], ()
    if kind is partialmethod:  # which Python 3.14 can't make without its arguments
        return partial(kind, obj.func, *obj.args, **obj.keywords), ()
    if kind.__module__ == "typing" and kind.__name__ in _TYPING:
        made_of = "__supertype__", "__value__"
        parts = [getattr(obj, name) for name in made_of if hasattr(obj, name)]
        keys = "bound", "covariant", "contravariant"
        options = {k: v for k in keys if (v := getattr(obj, f"__{k}__", None))}
        parts += getattr(obj, "__constraints__", ())
        return partial(kind, obj.__name__, *parts, **options), ()
    if issubclass(kind, io.IOBase) or kind.__name__ == "memmap":
        mode = str(getattr(obj, "mode", "r"))  # which gzip calls 2 if it is "w"
        writable = not {*"wax+2"}.isdisjoint(mode)
        if writable and obj is not sys.__stdout__ and obj is not sys.__stderr__:
            raise TypeError(f"{obj!r} is open for writing: open it in a task instead")
    own_init = type(kind.__init__) is FunctionType
    own_reduce = type(kind.__reduce__) is FunctionType
    if issubclass(kind, BaseException) and own_init and not own_reduce:
        # To call such an __init__ with the args that it left behind might not work.
        slots = [k for k in dir(kind) if type(getattr(kind, k)) is _MEMBER]
        state = {k: v for k in slots if (v := getattr(obj, k, None)) is not None}
        state |= {**vars(obj), "args": obj.args}
        return copyreg.__newobj__, (kind, *obj.args), state
    return NotImplemented


def _reduce_named(pickler, obj):
    """Restore a function or a class by its name, or from what it is made of."""
    module = sys.modules.get(obj.__module__)
    of_script = module is sys.modules["__main__"]
    path = getattr(obj, "__qualname__", "").split(".")  # a cached partial has none
    has_name = reduce(lambda part, name: getattr(part, name, None), path, module) is obj
    if has_name and not (of_script and pickler.by_value):
        if of_script:
            pickler.names.append(path[0])
        return obj.__qualname__
    if type(obj) is FunctionType:
        return _reduce_function(pickler, obj)
    if isinstance(obj, type) and of_script:
        return _reduce_class(obj)
    return NotImplemented


@cache
def _globals_of(code, count):
    """The names of all globals and submodules that a function, or one in it, uses.

    count: how many modules are loaded, as the submodules are found among them
    """
    import dis
    import re

    is_global = re.compile("LOAD_NAME|.*_GLOBAL").match
    operations = {(i.opname, i.argval) for i in dis.get_instructions(code)}
    found = {name for operation, name in operations if is_global(operation)}
    if "IMPORT_NAME" in dict(operations):
        found.add("__package__")  # relative imports need it
    values = (vars(sys.modules["__main__"]).get(name) for name in found)
    aliases = [value.__name__ for value in values if type(value) is ModuleType]
    used = {*code.co_names, *".".join(aliases).split(".")}
    found |= {name for name in list(sys.modules) if used >= {*name.split(".")}}
    inner = [const for const in code.co_consts if type(const) is CodeType]
    return found.union(*(_globals_of(code, count) for code in inner))


def _reduce_class(cls):
    """Restore a class first, and then what is in it, which may refer to the class."""
    import re

    # What has to be there when the class is made, and what is made together with it:
    given = "__module__", "__slots__", "__orig_bases__"
    made_anew = "getset_descriptor", "member_descriptor", "_abc_data"
    state = {k: v for k, v in vars(cls).items() if type(v).__name__ not in made_anew}
    if state.pop("__annotate_func__", None):  # it refers to all that is in the class
        state["__annotations__"] = _annotations(cls)
    body = {k: state.pop(k) for k in given if k in state}
    body["__qualname__"] = cls.__qualname__
    if "_member_map_" in state:  # an Enum makes its members while it is made itself
        members = cls.__members__
        body |= {name: member.value for name, member in members.items()}
        # It also makes these, and all _names_ but a user's _missing_.
        made = re.compile("__new__|__new_member__|_(?!missing_)[a-z].*_$").match
        state = {k: v for k, v in state.items() if k not in body and not made(k)}
        state["__members__"] = {name: vars(member) for name, member in members.items()}
    bases = cls.__bases__
    if type(cls) is not type:  # that of a TypedDict has another base than was written
        bases = body.pop("__orig_bases__", bases)
    fill = operator.methodcaller("update", body)
    args = cls.__name__, bases, {"metaclass": type(cls)}, fill
    return types.new_class, args, state, None, None, _set_attributes


def _reduce_function(pickler, function):
    """Restore a function without dill, whose import takes five times a bare start."""
    scope, used = function.__globals__, _globals_of(function.__code__, len(sys.modules))
    # functools.wraps changes the __module__, and %run of IPython the __name__; it also
    # copies all that is in the dictionary to another one, which does as well.
    home = scope.get("__name__") or function.__module__
    known = vars(sys.modules[home]) if home in sys.modules else {}
    own = {}
    if not known or any(scope.get(k) is not known.get(k) for k in used):
        home = known = pickler.scopes.setdefault(id(scope), {})  # to be shared
        own = {k: scope[k] for k in used if k in scope}
    of_script = known is vars(sys.modules["__main__"])
    pickler.names += [k for k in used if "." in k or of_script]
    keys = "__kwdefaults__", "__dict__", "__doc__", "__module__"
    keys += "__qualname__", "__type_params__"
    state = {k: getattr(function, k) for k in keys if hasattr(function, k)}
    state["__annotations__"] = _annotations(function)
    args = function.__name__, function.__defaults__, function.__closure__
    args = function.__code__, home, *args
    return _new_function, args, (own, state), None, None, _fill_function


def _new_function(code, home, *args):
    scope = home if type(home) is dict else vars(importlib.import_module(home))
    return FunctionType(code, scope, *args)


def _fill_function(function, state):
    own, attributes = state
    function.__globals__.update(own)
    for name, value in attributes.items():
        setattr(function, name, value)


def _annotations(obj):
    """Those of a function or a class; as text if they can't be evaluated (yet)."""
    try:
        return obj.__annotations__
    except Exception:
        from annotationlib import Format, get_annotations

        return get_annotations(obj, format=Format.STRING)


def _set_attributes(cls, attributes):
    for name, state in attributes.pop("__members__", {}).items():
        vars(cls[name]).update(state)
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)


def _definitions(names):
    """Pickle the globals of the script with these names, and all that they refer to.

    Return bytes of a dictionary of functions, classes and modules, and of one for each
    other thing, after those that it refers to, as it may need them to be loaded; a
    dictionary that tells why others are in none; and the ids and names of the things.
    """
    first, then, absent, seen = {}, {}, {}, set()
    if not names:
        return _dump(pickle, [None], []), absent, {}
    import dill

    script, submodules = sys.modules["__main__"], [m for m in sys.modules if "." in m]

    def add(names):
        for name in names:
            if name not in seen and name in [*vars(script), *submodules]:
                seen.add(name)
                needs = []
                try:  # to get an attribute imports what `lazy import` did not yet
                    value = getattr(script, name, sys.modules.get(name))
                    _dump(dill, [value], needs, by_value=True)
                except Exception as error:
                    absent[name] = repr(error)
                add(needs)
                if name not in absent:
                    part = first if isinstance(value, (*_NAMED, ModuleType)) else then
                    part[name] = value

    add(names)
    parts = [first, *({name: value} for name, value in then.items())]
    pickled = _dump(dill, [*parts, None], [], by_value=True)
    # A pickler asks no reducer for what is built in, so that can't be shared.
    shared = {id(v): k for k, v in then.items() if type(v).__module__ != "builtins"}
    return pickled, absent, shared


# Write and read a file ----------------------------------------------------------------

_STATES = "todo", "done", "fail"
_ENDS = ".pkl", ".pkl.tmp", ".pkl.out", ".pkl.out.tmp"
_INTACT = 0x2144DF1C  # the CRC-32 of any data that end in their own CRC-32


def _write(path, value, state, origin=""):
    """Write a whole file or none: a pickle, what became of the task, and a checksum.

    state: todo, done or fail
    origin: which file has been run
    """
    try:
        with open(f"{path}.tmp", "w+b") as file:
            pickle.dump(value, file, 5)
            file.write(f"{state}{origin:32}".encode())
            file.write(_checksum(file).to_bytes(4, "little"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.tmp", path)
    finally:
        _remove(f"{path}.tmp")


def _checksum(file):
    file.seek(0)
    blocks = iter(partial(file.read, 1 << 20), b"")
    return reduce(lambda checksum, block: crc32(block, checksum), blocks, 0)


def _load(path):
    with open(path, "rb") as file:
        if _checksum(file) != _INTACT:
            raise ValueError(f"{path!r} is damaged, or was not written by runforrest")
        file.seek(0)
        return pickle.load(file)


def _outcome(path):
    """Read what became of the task in a file, and which file has been run."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 40))
        end = file.read(36).decode(errors="replace")
        return end[:4], end[4:]


def _origin(file):
    """What tells a file from all others, and from itself if it is written again."""
    status = os.stat(file)
    return f"{status.st_ino:016x}{status.st_ctime_ns:016x}"


def _files(directory):
    """The sorted names of the files in a directory, or none if it doesn't exist."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        return sorted(e.name for e in entries if os.path.isfile(e.path))
    return []


def _is_ours(path):
    """Whether a file has a name that this library gives, or was written by it."""
    name = os.path.basename(path)
    named = name[:19].isdigit() and name[28:] in _ENDS or name == "session.pkl.tmp"
    with open(path, "rb") as file:
        return named or _checksum(file) == _INTACT


def _remove(path):
    with suppress(FileNotFoundError):
        os.unlink(path)


def _sync(directory):
    """Have the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _blame(node, error):
    """Tell which arguments of a call it was that could not be pickled."""
    fun, args, kwargs = node
    for name, value in [("fun", fun), *enumerate(args), *kwargs.items()]:
        try:  # without tasks, as these have their own turn
            _seal(_resolve(value, dict.fromkeys(_tasks_in(value))), [])
        except Exception:
            called, kind = getattr(fun, "__name__", "a task"), type(value).__qualname__
            error.add_note(f"It is in argument {name!r} of {called}, a {kind}.")


def _freeze(task, metadata):
    """Make a task of bytes alone, which can be read without what its calls need."""
    names, frozen = [], Task.__new__(Task)
    *calls, _ = _in_order(task)
    try:
        node = _seal([*calls, task.__node__], names)
        *frozen.__definitions__, shared = _definitions(names)
        if shared:  # what is both a global and in an argument has to arrive as one
            node = _seal([*calls, task.__node__], names, shared=shared)
        frozen.__sealed__ = {"__node__": node, "metadata": _seal(metadata, [])}
    except Exception as error:
        for call in calls + [task, defer(TaskList.schedule, metadata=metadata)]:
            _blame(call.__node__, error)
        raise
    frozen.__id__ = task.__id__
    frozen.__python__ = "{}.{}".format(*sys.version_info)
    frozen.__path__ = [os.path.abspath(path) for path in sys.path]
    frozen.__argv__ = sys.argv
    return frozen


def _finish(task, started, value, error, report=""):
    """Put the outcome into a task that was read from a file."""
    vars(task).pop("__node__", None)  # or what has changed its arguments were stored
    task.__sealed__ |= {"returnvalue": _seal(value, [], [])}
    task.__sealed__ |= {"errorvalue": partial(_reported, _seal(error, []), report)}
    vars(task)["runtime"] = time.perf_counter() - started
    return task


def _reported(restore, report):
    """Restore an error with its traceback; or another that tells why it can't be."""
    try:
        error = restore()
    except Exception as cause:
        error = cause
    if report:
        error.add_note(report)
    return error


# Run one file -------------------------------------------------------------------------


def run_task(infile, outfile, sessionfile=None, do_print=False, do_raise=False):
    """Evaluate the task in a file, write it with its outcome, return the exit code.

    This writes to `__main__`, `sys.path` and `sys.argv`: use a process of its own.
    """
    global _is_loading
    process, outfile = os.getpid(), os.path.abspath(outfile)
    old = os.path.isfile(outfile) and not os.path.samefile(infile, outfile)
    new = not os.path.lexists(outfile) and os.path.isdir(os.path.dirname(outfile))
    if not (old or new):
        raise ValueError(f"{outfile!r} is the infile, no file, or in no directory")
    origin = _origin(infile)
    task, started = _load(infile), time.perf_counter()
    absent = {}
    # For telling what went wrong if all other memory, or all descriptors, are used:
    reserve, spare = bytes(1 << 24), os.open(os.devnull, os.O_RDONLY)
    try:
        if task.__python__ != "{}.{}".format(*sys.version_info):
            raise RuntimeError(f"run it with Python {task.__python__} or schedule anew")
        sys.path[:] = dict.fromkeys(task.__path__ + sys.path)
        sys.argv[:] = task.__argv__
        session = [_load(sessionfile)] if sessionfile else []
        for pickled, reasons in [task.__definitions__, *session]:
            absent |= reasons
            for part in _load_all(pickled):
                vars(sys.modules["__main__"]).update(part)
        # All that it refers to is imported, so what uses a TaskList now, may do so.
        _, _is_loading = task.__node__, False
        value = evaluate(task)
        if os.getpid() == process:  # and not a fork that the task let return
            _write(outfile, _finish(task, started, value, None), "done", origin)
        return 0
    except BaseException as error:
        if os.getpid() != process:  # a fork that the task made ends as it likes
            raise
        del reserve
        os.closerange(spare, spare + 1)  # which is no error if the task did so already
        import traceback

        if type(error) in (NameError, AttributeError):  # of 'name', or of 'name.part'
            told = str(error).replace(".", "'")
            for name in [name for name in absent if repr(name) in told]:
                error.add_note(f"{name} did not come along: {absent[name]}")
        report = "".join(traceback.format_exception(error))
        try:
            _seal(error, [])().add_note(report)  # as whoever reads it does
            told = error
        except Exception:
            told = RuntimeError(traceback.format_exception_only(error)[0].strip())
        _write(outfile, _finish(task, started, None, told, report), "fail", origin)
        if do_print:
            traceback.print_exception(error)
        if do_raise and not isinstance(error, SystemExit):  # whose code might be 0
            raise
        return 1


def _run_file(directory, autokill, logfile, options, name, alive=None):
    """Run the task in a file in todo, in a process of its own; move it to done or fail.

    Return where it is then, and the reason if its failure could not be written there;
    or None if another runs it, or if the descriptor `alive` became readable to stop it.
    """
    from multiprocessing.connection import wait

    todo, done, fail = (os.path.join(directory, state, name) for state in _STATES)
    out = f"{todo}.out"
    patience = time.monotonic() + (5 if alive is None else 0)  # seconds, for executors
    alive = _lifeline()[0] if alive is None else alive
    try:
        while (claim := _claim(todo)) is None:
            if time.monotonic() > patience or not os.path.exists(todo):
                return None
            time.sleep(0.1)  # a task that an executor tries again may be dying still
    except PermissionError as error:  # it is somebody else's
        return todo, error
    with claim:
        error, started = None, time.perf_counter()
        origin = _origin(claim.fileno())
        found = filter(os.path.isfile, (done, fail, out))
        # The result of a runner that was killed needs no more than to be moved.
        result = next((path for path in found if _outcome(path)[1] == origin), None)
        if result is None:
            _remove(out)
            _log(logfile, name, "start")
            error = _execute([todo, out, *options], claim, autokill, logfile, alive)
            if wait([alive], timeout=0):
                return None
        try:
            if result is None and not os.path.exists(out):
                _write(out, _finish(_load(todo), started, None, error), "fail", origin)
            state, reason = _outcome(result or out)[0], None
            os.replace(result or out, os.path.join(directory, state, name))
            _sync(os.path.join(directory, state))
            if state == "done":
                _remove(fail)
            _remove(todo)
        except Exception as cause:  # the disk is full, or the file damaged: keep it so
            state, reason = "fail", cause
            with suppress(FileNotFoundError):
                os.replace(todo, fail)
        _log(logfile, name, state)
        return os.path.join(directory, state, name), reason


def _claim(path):
    """Open and lock a file, until it is closed both here and in the task."""
    with suppress(FileNotFoundError, BlockingIOError):
        file = open(path, "r+b")  # noqa: SIM115 - writable, as NFS wants it for locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            return file
    return None


def _new_lifeline():
    """Make a pipe to which nobody can write when this process is gone."""
    while (spare := os.open(os.devnull, os.O_RDWR)) < 3:
        # No pipe, and no file of a task, is to be taken for a standard stream.
        os.set_inheritable(spare, True)
    os.close(spare)
    return os.pipe()


_lifeline = cache(_new_lifeline)


def _log(logfile, name, event):
    if logfile:
        with suppress(OSError), open(logfile, "a", errors="replace") as log:
            print(time.strftime("%Y-%m-%dT%H:%M:%S"), name, event, file=log)


def _execute(arguments, claim, autokill, logfile, alive):
    """Run the process of a task, leave nothing of it behind, return how it ended."""
    import signal
    import subprocess
    import threading

    # It has to find what this process finds, and gives the task the PYTHONPATH of old.
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join(map(os.fspath, [*sys.path, here]))
    lifeline = f"{alive}:{os.environ.get('PYTHONPATH', '')}"
    environment = {"PYTHONPATH": path, "RUNFORREST": lifeline}
    with open(logfile or os.devnull, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runforrest", *arguments],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=logfile and log,
            stderr=logfile and log,
            start_new_session=True,
            pass_fds=[claim.fileno(), alive],
        )
    # As long as it isn't reaped, nobody else gets its number, which is its group's too.
    wait = process.wait
    if hasattr(os, "waitid"):  # which macOS has since Python 3.13
        wait = partial(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    def wait_for_end():
        with suppress(ChildProcessError):  # if the caller ignores SIGCHLD
            wait()

    waiter = threading.Thread(target=wait_for_end, daemon=True)
    try:
        if autokill is None:  # without the time that it takes to start a thread
            wait_for_end()
        else:
            waiter.start()
            waiter.join(float(autokill))
        late = waiter.is_alive()
    finally:
        with suppress(PermissionError, ProcessLookupError):  # macOS, when all ended
            os.killpg(process.pid, signal.SIGKILL)
    if late:
        waiter.join(5)  # seconds, and go on: what waits for a broken disk does not die
    code = process.poll()
    if late:
        return subprocess.TimeoutExpired(process.args, autokill)
    if code == 0:
        return subprocess.SubprocessError(f"{process.args} ended without a result")
    return subprocess.CalledProcessError(code, process.args)


def _follow(alive):
    """Kill this process and its children when a pipe ends, or there is data in it."""
    try:
        # The pipe is opened anew, and stays open, as each opening has its own owner.
        pipe = os.open(f"/proc/self/fd/{alive}", os.O_RDONLY)
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, 9)  # SIGKILL
        fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.read(pipe, 1)  # raises BlockingIOError unless it happened already
        os._exit(1)
    except BlockingIOError:
        pass
    except (OSError, AttributeError):  # no Linux: a thread has to wait for it
        _thread.start_new_thread(_kill_at_end_of, (alive,))


def _kill_at_end_of(alive):
    os.read(alive, 1)
    os.killpg(0, 9)


class _LastOfAll:
    """Ends what a task leaves behind, when all else of the interpreter is cleaned up.

    For then nobody listens to the pipe any more, and who started this may be killed.
    This process lives on, as libraries in C have not yet closed their files.
    """

    def __del__(self, handle=_signal.signal, kill=os.killpg):
        handle(15, 1)  # SIGTERM, SIG_IGN
        kill(0, 15)


# Run many -----------------------------------------------------------------------------


def _read(path, reason=None):
    """Read a task for its user; what goes wrong here is in its errorvalue, too."""
    import shlex

    task = defer(None)
    vars(task).update(metadata=None, runtime=None)
    try:
        task = _load(path)
        if not os.path.dirname(path).endswith("todo"):
            error = task.errorvalue
            task.returnvalue = task.__sealed__.pop("returnvalue")()  # not kept twice
            reason = error if reason is None else reason
    except (Exception, SystemExit) as error:  # a value can do anything as it is loaded
        reason = error if reason is None else reason
    if reason is not None:
        vars(task).update(returnvalue=None, errorvalue=reason)
        command = shlex.join(["python", "-m", "runforrest", path, "result.pkl", "-r"])
        reason.add_note(f"To debug this: {command}")
    return task


class _Run:
    """The tasks of a run, as they finish; its length is how many there are to run."""

    def __init__(self, tasklist, work, nprocesses, executor):
        self._tasklist = tasklist  # which must not clean up before this has ended
        self._names, self._work = tasklist._names("todo"), work
        self._nprocesses, self._executor = nprocesses, executor

    def __len__(self):
        return len(self._names)

    def __iter__(self):
        import atexit
        from concurrent.futures import as_completed
        from multiprocessing.pool import ThreadPool

        process, (alive, leash) = os.getpid(), _new_lifeline()
        pool, futures = ThreadPool(self._nprocesses), []

        @cache  # as it might wait if the pipe is full
        def stop():
            if os.getpid() == process:  # and not a fork that left the loop
                # One for each process, which see it even if a fork keeps the pipe open.
                os.write(leash, bytes(4096))

        atexit.register(stop)
        try:
            if self._executor is not None:
                futures += [self._executor.submit(self._work, n) for n in self._names]
                outcomes = (future.result() for future in as_completed(futures))
            else:
                work = partial(self._work, alive=alive)
                outcomes = pool.imap_unordered(work, self._names)
            for outcome in outcomes:
                if outcome:
                    yield _read(*outcome)
        finally:
            for future in futures:
                future.cancel()
            stop()
            atexit.unregister(stop)
            os.close(leash)
            if not sys.is_finalizing():
                pool.terminate()
                pool.join()
            os.close(alive)


def _refuse_while_loading():
    """Don't let a task's process do all that its script does, with the same files."""
    if _is_loading:
        raise RuntimeError(
            "a task has imported the module that runs it: put all that uses a TaskList"
            " in a function, or under if __name__ == '__main__'"
        )


_cleaners = {}  # directory: what cleans it up when its TaskList is gone


class TaskList:
    """A directory with tasks, and what runs them.

    directory: the tasks are in the directories todo, done and fail in this one. If it
        exists already, a RuntimeError is raised, unless
    exist_ok: use it anyway, and
    pre_clean: remove all tasks that are in it, or
    noschedule_if_exist: run the tasks that are in it, and ignore what gets scheduled
    post_clean: remove all tasks when this object is deleted, or Python ends
    logfile: append to this file when tasks are scheduled, started, and done or failed,
        and what they print
    """

    def __init__(
        self,
        directory,
        exist_ok=False,
        pre_clean=True,
        post_clean=False,
        logfile=None,
        noschedule_if_exist=False,
    ):
        exists = os.path.lexists(directory)
        if exists and not os.path.isdir(directory):
            raise ValueError(f"{directory!r} is no directory: choose another name")
        if exists and not exist_ok and not noschedule_if_exist:
            raise RuntimeError(
                f"TaskList directory {directory!r} exists already: choose another, or"
                " pass exist_ok=True, and pre_clean=False to keep the tasks in it"
            )
        self._directory = os.path.abspath(directory)
        self._logfile = logfile and os.path.abspath(logfile)
        self._newest = 0
        self._noschedule = exists and noschedule_if_exist
        if exists and pre_clean and not self._noschedule:
            self.clean()
        self._make_directories()
        open(logfile or os.devnull, "a").close()  # if it can't be written, say so now
        if self._directory in _cleaners:  # only the newest one may do so
            _cleaners.pop(self._directory).detach()
        if post_clean:
            import copy
            import weakref

            cleaner = weakref.finalize(self, copy.copy(self).clean)
            os.register_at_fork(after_in_child=cleaner.detach)
            _cleaners[self._directory] = cleaner

    def __repr__(self):
        counts = (f"{state}={len(self._names(state))}" for state in _STATES)
        return f"TaskList({self._directory!r}, {', '.join(counts)})"

    def _make_directories(self):
        for state in _STATES:
            path = os.path.join(self._directory, state)
            if not os.path.isdir(path):
                os.makedirs(path, exist_ok=True)
                _sync(self._directory)
                _sync(os.path.dirname(self._directory))

    def schedule(self, task, metadata=None):
        """Write a task to a file in todo, where it survives whatever happens.

        metadata: anything that shall come back as `task.metadata`

        TypeError if it isn't a task; else what pickling it or writing the file raises.
        """
        if type(task) is not Task:
            raise TypeError(f"{task!r} isn't a task: make one, with defer(fun, arg)")
        _refuse_while_loading()
        if self._noschedule:
            return
        self._make_directories()
        self._newest = max(self._newest + 1, time.time_ns())  # names sort in this order
        name = f"{self._newest}-{os.urandom(4).hex()}.pkl"
        directory = os.path.join(self._directory, "todo")
        _write(os.path.join(directory, name), _freeze(task, metadata), "todo")
        _sync(directory)
        _log(self._logfile, name, "schedule")

    def run(
        self,
        nprocesses=4,
        print_errors=False,
        save_session=False,
        autokill=None,
        executor=None,
    ):
        """Run the tasks in todo, each in a process of its own.

        Return an iterable, with a length, of the tasks as they finish. They start when
        it is iterated. Leaving the loop kills those that run, and they stay in todo.

        nprocesses: how many run at a time
        print_errors: print the full stack trace of each error
        save_session: send all globals of the script, not only those that tasks refer to
        autokill: seconds after which to kill a task and all processes it has started
        executor: a concurrent.futures.Executor that runs them, instead of nprocesses
        """
        if not hasattr(nprocesses, "__index__") or nprocesses < 1:
            raise ValueError(f"nprocesses must be 1, 2, 3, ..., not {nprocesses!r}")
        timed = hasattr(autokill, "__float__") and 0 < autokill < 1e9
        if autokill is not None and not timed:
            raise ValueError(f"autokill must be a number of seconds, not {autokill!r}")
        if executor is not None and not hasattr(executor, "submit"):
            raise TypeError(f"executor must have a submit method, not be {executor!r}")
        _refuse_while_loading()
        self._make_directories()
        options = ["-p"] if print_errors else []
        if save_session:
            session = os.path.join(self._directory, "session.pkl")
            if os.path.lexists(session) and not _is_ours(session):
                raise FileExistsError(f"{session!r} is in the way: move it elsewhere")
            names = [name for name in vars(sys.modules["__main__"]) if name[:2] != "__"]
            _write(session, _definitions(names)[:2], "todo")
            options += ["-s", session]
        work = partial(_run_file, self._directory, autokill, self._logfile, options)
        return _Run(self, work, nprocesses, executor)

    def _names(self, state):
        """The names of all task files, in the order in which they were scheduled."""
        names = _files(os.path.join(self._directory, state))
        return [n for n in names if n.endswith(".pkl") and not n.startswith(".")]

    def _tasks(self, state):
        for name in self._names(state):
            yield _read(os.path.join(self._directory, state, name))

    todo_tasks = partialmethod(_tasks, "todo")
    done_tasks = partialmethod(_tasks, "done")
    fail_tasks = partialmethod(_tasks, "fail")

    def clean(self, clean_todo=True, clean_done=True, clean_fail=True):
        """Remove the files of this library, and the directories that are empty then."""
        _refuse_while_loading()
        wanted = {"todo": clean_todo, "done": clean_done, "fail": clean_fail}
        wanted["."] = all(wanted.values())
        for part in filter(wanted.get, wanted):
            directory = os.path.join(self._directory, part)
            for name in _files(directory):
                path = os.path.join(directory, name)
                # It may be somebody else's, or somebody else removes it, too.
                with suppress(PermissionError, FileNotFoundError):
                    session = name.removesuffix(".tmp") == "session.pkl"
                    if (part != "." or session) and _is_ours(path):
                        _remove(path)
            with suppress(OSError):  # a user's file is in it
                os.rmdir(os.path.abspath(directory))


# The command line ---------------------------------------------------------------------


def main(args=None):
    """Run one task file, as `python -m runforrest` does, and return the exit code."""
    args = sys.argv[1:] if args is None else args
    if len(args) == 2 and not any(arg.startswith("-") for arg in args):
        return run_task(*args)  # as argparse takes as long as all else here
    import argparse

    add = (parser := argparse.ArgumentParser("python -m runforrest")).add_argument
    add("infile", help="a file with a task, which stays as it is")
    add("outfile", help="the file to write with the task and its outcome")
    add("-r", "--do_raise", action="store_true", help="raise the task's error")
    add("-p", "--do_print", action="store_true", help="print the task's error")
    add("-s", "--sessionfile", metavar="FILE", help="a file with the script's globals")
    return run_task(**vars(parser.parse_args(args)))


if _is_program:
    import gc

    gc.freeze()  # the garbage collector need not look through this at the end
    # The second name is that of scripts in the workers of multiprocessing.
    script = ModuleType("__main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = script
    script.__builtins__ = builtins  # as in every module that Python runs, and for dill
    del script  # or it would not be cleaned up before the modules that it uses
    alive, _, path = os.environ.pop("RUNFORREST", "").partition(":")
    if alive:
        os.environ["PYTHONPATH"] = path
        _follow(int(alive))
        # What a task printed is seen at once, whatever happens to it.
        sys.stdout.reconfigure(line_buffering=True)
    code = main()
    if alive and os.getpid() == os.getpgrp():  # and not a fork that the task let return
        sys.last_of_all = _LastOfAll()
    sys.exit(code)
