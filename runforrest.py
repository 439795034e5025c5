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
import _thread
import abc
import atexit
import copyreg
import importlib
import io
import marshal
import operator
import os
import sys
import time
import types
from contextlib import suppress
from functools import cache, lru_cache, partial, partialmethod, reduce
from graphlib import TopologicalSorter
from types import CellType, CodeType, FunctionType, ModuleType
from zlib import crc32

try:
    import fcntl
except ImportError as error:
    raise ImportError("runforrest needs a POSIX system: Linux, macOS, WSL") from error

__version__ = "1.0.0"
__all__ = ["Task", "TaskList", "defer", "evaluate"]
_is_program = _is_loading = __name__ == "__main__"
if _is_program:  # be the module that task files refer to; __main__ is the script's
    __name__ = "runforrest"
    sys.modules[__name__] = sys.modules["__main__"]


# Build the graph ----------------------------------------------------------------------


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
        if name in vars(self).get("__sealed__", ()):
            value = _unseal(self.__sealed__[name])
            return vars(self).setdefault(name, value)
        if name[:2] == "__" or name in _OUTCOME or "runtime" in vars(self):
            raise AttributeError(f"this task has no {name!r} (has it run?)")
        return Task(getattr, (self, name), {})

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


_OUTCOME = "returnvalue", "errorvalue"


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
        fun, args, kwargs = _replace(call.__node__, results.get)
        results[call] = fun(*args, **kwargs)
    return _replace(task, results.get)


def _in_order(data):
    """List the tasks in data, and those they are made of: no task before its parts.

    A CycleError is raised if one is made of itself.
    """
    needs, found = {}, []
    _replace(data, found.append)
    for call in found:  # to which its parts are appended
        if call not in needs:
            needs[call] = []
            _replace(call.__node__, needs[call].append)
            found += needs[call]
    return list(TopologicalSorter(needs).static_order())


_CONTAINERS = {list, tuple, set, frozenset, dict}


def _replace(data, replacement, known=None):
    """Replace the tasks in data; what contains none is returned as the same object.

    known: what containers that were met already are replaced by
    """
    known, kind = {} if known is None else known, type(data)
    if kind is Task:
        return replacement(data)
    if kind in _CONTAINERS and id(data) not in known:
        known[id(data)] = data  # for those that contain themselves
        parts = [*data, *data.values()] if kind is dict else list(data)
        if not (_CONTAINERS | {Task}).isdisjoint(map(type, parts)):
            new = [_replace(part, replacement, known) for part in parts]
            if any(map(operator.is_not, new, parts)):
                pairs = zip(new, new[len(data) :], strict=False)
                known[id(data)] = kind(pairs if kind is dict else new)
    return known.get(id(data), data)


# Turn it into bytes, with all that it needs of the script -----------------------------


class _Now(partial):
    """A call that is pickled as such, and made as soon as it is loaded."""

    def __reduce__(self):
        return self.func, self.args


def _seal(value, names, by_value=False, share=False):
    """Pickle a value.

    names: a list, to which the names are added that its functions and classes use:
        those of globals, and after a dot all others
    by_value: pickle the functions and classes of the script itself, not their names
    share: don't copy large arrays
    """
    for library in ["_pickle", "dill"][by_value:]:  # which can do more, but takes long
        stream, buffers = io.BytesIO(), []
        kind = _pickler(importlib.import_module(library).Pickler)
        pickler = kind(stream, 5, buffer_callback=buffers.append if share else None)
        pickler.names, pickler.by_value, pickler.scopes = names, by_value, {}
        with suppress(Exception if library == "_pickle" else ()):
            pickler.dump(value)
            break
    return stream.getvalue(), buffers


def _unseal(sealed):
    return pickle.loads(sealed[0], buffers=sealed[1])


def _why_not(value, names, by_value=False):
    """Why a value can't be pickled, or None if it can."""
    try:
        _seal(value, names, by_value)
    except Exception as error:
        return repr(error)


_pickler = cache(lambda kind: type("Pickler", (kind,), {"reducer_override": _reduce}))
_CACHED, _SLOT = type(cache(id)), types.MemberDescriptorType
_NAMED = type, FunctionType, _CACHED
_OF_FUNCTION = "__kwdefaults__", "__dict__", "__doc__", "__module__", "__qualname__"
_MADE_ANEW = "getset_descriptor", "member_descriptor", "_abc_data"
_TYPING = "TypeVar", "ParamSpec", "NewType", "TypeAliasType"
_LOCKS = {_thread.RLock: _thread.RLock, _thread.LockType: _thread.allocate_lock}


def _reduce(pickler, obj):
    """Say how to restore an object that pickle, and dill, can't, or restore wrongly.

    As all such functions, return a function, its arguments, and what to put into the
    object that it makes, after that is known to others; or a name; or NotImplemented.
    """
    kind = type(obj)
    if isinstance(obj, _NAMED) and _is_named(pickler, obj):
        return obj.__qualname__
    if kind is FunctionType:
        return _reduce_function(pickler, obj)
    if kind is _CACHED:
        return _Now(lru_cache, *obj.cache_parameters().values()), (obj.__wrapped__,)
    if kind is CellType:  # empty first, as it may contain the function it belongs to
        contents = {"cell_contents": obj.cell_contents} if obj != CellType() else {}
        return _Now(getattr, types, "CellType"), (), (None, contents)
    if isinstance(obj, type) and _of_script(obj):
        return _reduce_class(obj)
    if hasattr(kind, "_member_map_") and not _is_named(pickler, kind):  # of an Enum
        args = object.__reduce_ex__(obj, 2)[1]  # with its class, or (Decimal) without
        args = args if args[:1] == (kind,) else (kind, *args)
        return obj._member_type_.__new__, args, vars(obj)
    if kind is ModuleType:
        if sys.modules.get(obj.__name__) is not obj:
            raise TypeError(f"{obj!r} can't be imported by its name")
        pickler.names += ["." + name for name in obj.__name__.split(".")]
        return importlib.import_module, (obj.__name__,)
    if kind is partialmethod:  # which Python 3.14 can't make without its arguments
        return partial(kind, obj.func, *obj.args, **obj.keywords), ()
    if kind is types.MethodType:
        name = getattr(obj, "__name__", "")
        if getattr(obj.__self__, name, None) != obj:  # but a wrapper's, or super()'s
            return _Now(getattr, types, "MethodType"), (obj.__func__, obj.__self__)
    if kind in _LOCKS:  # dill would restore them as locked
        return _LOCKS[kind], ()
    if kind.__module__ == "typing" and kind.__name__ in _TYPING:
        parts = "__supertype__", "__value__"
        made_of = [getattr(obj, name) for name in parts if hasattr(obj, name)]
        return kind, (obj.__name__, *made_of, *getattr(obj, "__constraints__", ()))
    if isinstance(obj, io.IOBase) or kind.__name__ == "memmap":
        mode = str(getattr(obj, "mode", "r"))  # which gzip calls 2 if it is "w"
        is_standard = obj is sys.__stdout__ or obj is sys.__stderr__
        if not is_standard and not {*"wax+2"}.isdisjoint(mode):
            raise TypeError(f"{obj!r} is open for writing: open it in a task instead")
    own_init = type(kind.__init__) is FunctionType is not type(kind.__reduce__)
    if issubclass(kind, BaseException) and own_init:
        # To call such an __init__ with the args that it left behind might not work.
        slots = [k for k in dir(kind) if type(getattr(kind, k)) is _SLOT]
        state = {k: v for k in slots if (v := getattr(obj, k, None)) is not None}
        state |= {**vars(obj), "args": obj.args}
        return copyreg.__newobj__, (kind, *obj.args), state
    return NotImplemented


def _is_named(pickler, obj):
    """Whether a function or a class is sent by name."""
    module, of_script = sys.modules.get(obj.__module__), _of_script(obj)
    path = getattr(obj, "__qualname__", "").split(".")  # a cached partial has none
    if of_script:
        pickler.names.append(path[0])
    found = reduce(lambda part, name: getattr(part, name, None), path, module)
    return found is obj and not (of_script and pickler.by_value)


def _of_script(obj):
    return sys.modules.get(obj.__module__) is sys.modules["__main__"]


def _reduce_function(pickler, function):
    """Restore a function without dill, whose import takes five times a bare start."""
    scope, used, own = function.__globals__, _globals_of(function.__code__), {}
    pickler.names += used
    # functools.wraps changes the __module__, and %run of IPython the __name__.
    home = sys.modules.get(scope.get("__name__") or function.__module__)
    # exec has globals of its own, as a namedtuple, and IPython and doctest have copies.
    if home is None or any(scope.get(k) is not vars(home).get(k) for k in used):
        home = pickler.scopes.setdefault(id(scope), types.SimpleNamespace())
        own = {k: scope[k] for k in used if k in scope}
    code, home = _Now(marshal.loads, marshal.dumps(function.__code__)), _Now(vars, home)
    args = code, home, function.__name__, function.__defaults__, function.__closure__
    state = {k: getattr(function, k) for k in _OF_FUNCTION}
    state["__annotations__"] = _annotations(function)
    filled = own and _Now(dict.update, home, own)
    return _Now(getattr, types, "FunctionType"), args, (filled, state)


def _reduce_class(cls):
    """Restore a class as what it has become.

    This runs nothing of what has made it, but the __init_subclass__ of its bases.
    """
    state = {k: v for k, v in vars(cls).items() if type(v).__name__ not in _MADE_ANEW}
    given = "__module__", "__slots__", "__orig_bases__"
    body = {k: state.pop(k) for k in given if k in state}
    state["__qualname__"] = cls.__qualname__
    if state.pop("__annotate_func__", None):  # it refers to all that is in the class
        state["__annotations__"] = _annotations(cls)
    kind = abc.ABCMeta if isinstance(cls, abc.ABCMeta) else type
    args = type(cls), cls.__name__, cls.__bases__, body
    return kind.__new__, args, state, None, None, _set_attributes


def _annotations(obj):
    with suppress(Exception):  # since Python 3.14, these may be of what is not there
        return obj.__annotations__
    return {}


def _set_attributes(cls, attributes):
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)


@cache
def _globals_of(code):
    """The globals that a function, or one in it, uses; after a dot, all its names."""
    import dis

    lookups = {"LOAD_NAME", *(name for name in dis.opmap if "GLOBAL" in name)}
    used = {i.argval for i in dis.get_instructions(code) if i.opname in lookups}
    inner = [const for const in code.co_consts if type(const) is CodeType]
    return used.union(["." + name for name in code.co_names], *map(_globals_of, inner))


def _definitions(names):
    """Pickle the globals of the script with these names, and all that they refer to.

    They define themselves when they are loaded: modules, functions and classes first,
    as the others may need those to be loaded. Return also why some are not in it.
    """
    script, why_not = sys.modules["__main__"], {}
    loaded = sys.modules.copy() if names else {}
    modules = {k: v for k, v in loaded.items() if "." in k and type(v) is ModuleType}
    known = modules | vars(script)
    for name in names:  # to which those are appended that are found
        if name in vars(script) and name not in why_not:
            why_not[name] = _why_not(known[name], names, by_value=True)
    words = {name.strip(".") for name in names}
    names += [name for name in modules if words.issuperset(name.split("."))]
    # Last what was needed first, as it may need the others to be loaded.
    order = dict.fromkeys(["__package__", *reversed(names)])  # for relative imports
    order = [name for name in order if name in known and not why_not.get(name)]
    order.sort(key=lambda name: not isinstance(known[name], (*_NAMED, ModuleType)))
    calls = [_Now(setattr, script, name, known[name]) for name in order]
    sealed = _seal(calls, [], by_value=bool(names))
    return sealed, {name: why for name, why in why_not.items() if why}


# Write and read a file ----------------------------------------------------------------

_STATES = "todo", "done", "fail"
_INTACT = 0x2144DF1C  # the CRC-32 of any data that end in their own CRC-32
# A file in done or fail that was last changed in this second of 1987 is the outcome of
# the one in todo, which is yet to be removed. Then it gets its real time.
_UNSETTLED = 1 << 29


def _write(path, value, seconds=None):
    """Write a pickle and a checksum to a file that survives a power cut, or to none.

    seconds: when it shall seem to have been changed, if not now
    """
    _make(os.path.dirname(path))
    try:
        with open(f"{path}.tmp", "w+b") as file:
            pickle.dump(value, file, 5)
            file.write(_checksum(file).to_bytes(4, "little"))
            file.flush()
            if seconds:
                os.utime(file.fileno(), (seconds, seconds))
            os.fsync(file.fileno())
        os.replace(f"{path}.tmp", path)
        _sync(os.path.dirname(path))
    finally:
        _remove(f"{path}.tmp")


def _load(path):
    with open(path, "rb") as file:
        if _checksum(file) != _INTACT:
            raise ValueError(f"{path!r} is damaged, or was not written by runforrest")
        file.seek(0)
        return pickle.load(file)


def _checksum(file):
    file.seek(0)
    blocks = iter(partial(file.read, 1 << 20), b"")
    return reduce(lambda checksum, block: crc32(block, checksum), blocks, 0)


def _unsettled(*paths):
    """Which of these files is the outcome of what is in todo, or None."""
    for path in paths:
        with suppress(FileNotFoundError):
            if os.stat(path).st_mtime == _UNSETTLED:
                return path
    return None


def _make(directory):
    """Make a directory, if there is none, that survives a power cut as its parents."""
    if not os.path.isdir(directory):
        _make(os.path.dirname(directory))
        os.makedirs(directory, exist_ok=True)
        _sync(os.path.dirname(directory))


def _sync(directory):
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _remove(path):
    with suppress(FileNotFoundError):
        os.unlink(path)


def _files(directory):
    """The sorted names of the files in a directory, or none if it doesn't exist."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        return sorted(e.name for e in entries if os.path.isfile(e.path))
    return []


def _freeze(task, metadata):
    """Make a task of bytes alone, which can be read without what its calls need."""
    names, frozen = [], Task.__new__(Task)
    *calls, _ = _in_order(task)  # and so the pickle is flat
    try:
        node = _seal(_Now(operator.getitem, [*calls, task.__node__], -1), names)
        frozen.__sealed__ = {"__node__": node, "metadata": _seal(metadata, [])}
    except Exception as error:
        for call in [*calls, task, defer(TaskList.schedule, metadata=metadata)]:
            _blame(*call.__node__, error)
        raise
    frozen.__id__, frozen.__report__, frozen.runtime = task.__id__, "", None
    frozen.__definitions__ = _definitions(names)
    frozen.__python__ = "{}.{}".format(*sys.version_info)
    frozen.__path__ = [os.path.abspath(path) for path in sys.path]
    frozen.__argv__ = sys.argv
    return frozen


def _blame(fun, args, kwargs, error):
    """Tell which arguments of a call it was that could not be pickled."""
    for name, value in [("fun", fun), *enumerate(args), *kwargs.items()]:
        if _why_not(_replace(value, id), []):  # a task in it has its own turn
            called, kind = getattr(fun, "__name__", "a task"), type(value).__qualname__
            error.add_note(f"It is in argument {name!r} of {called}, a {kind}.")


def _finish(task, started, value, error, report=""):
    """Put the outcome into a task that was read from a file."""
    vars(task).pop("__node__", None)  # or what has changed its arguments were stored
    task.__sealed__["returnvalue"] = _seal(value, [], share=True)
    task.__sealed__["errorvalue"] = _seal(error, [])
    task.__report__, task.runtime = report, time.perf_counter() - started
    return task


# Run one file -------------------------------------------------------------------------


def run_task(infile, outfile, sessionfile, do_print, do_raise, failfile=None):
    """Evaluate the task in a file, write it with its outcome, return the exit code.

    sessionfile: a file with more globals of the script
    do_print, do_raise: what to do with an error, after it was written
    failfile: where to write a failure for a runner, which settles the outcome

    This writes to `__main__`, `sys.path` and `sys.argv`: use a process of its own.
    """
    global _is_loading
    process, started = os.getpid(), time.perf_counter()
    seconds = _UNSETTLED if failfile else None
    outfile, failfile = map(os.path.abspath, (outfile, failfile or outfile))
    task, absent = _load(infile), {}
    # For telling what went wrong if all other memory, or all descriptors, are used:
    reserve = [bytes(1 << 24), open(os.devnull)]  # noqa: SIM115 - closed by del
    try:
        if task.__python__ != "{}.{}".format(*sys.version_info):
            raise RuntimeError(f"run it with Python {task.__python__} or schedule anew")
        sys.path[:] = dict.fromkeys(task.__path__ + sys.path)
        sys.argv[:] = task.__argv__
        session = [_load(sessionfile)] if sessionfile else []
        for parts, reasons in [task.__definitions__, *session]:
            absent |= reasons
            _unseal(parts)
        # All that it refers to is imported, so what uses a TaskList now, may do so.
        _, _is_loading = task.__node__, False
        value = evaluate(task)
        if os.getpid() == process:  # and not a fork that the task let return
            _write(outfile, _finish(task, started, value, None), seconds)
        return 0
    except BaseException as error:
        if os.getpid() != process:  # a fork that the task made ends as it likes
            raise
        del reserve
        import traceback

        if isinstance(error, (NameError, AttributeError)):  # 'name', or 'name.part'
            told = str(error).replace(".", "'")
            for name in [name for name in absent if repr(name) in told]:
                error.add_note(f"{name} did not come along: {absent[name]}")
        report, told = "".join(traceback.format_exception(error)), error
        try:
            _unseal(_seal(error, []))
        except Exception:
            told = RuntimeError(traceback.format_exception_only(error)[0].strip())
        _write(failfile, _finish(task, started, None, told, report), seconds)
        if do_print:
            traceback.print_exception(error)
        if do_raise and not isinstance(error, SystemExit):  # whose code might be 0
            raise
        return 1


def _run_file(directory, autokill, logfile, options, name, stop=None):
    """Run the task in a file in todo, in a process of its own, and remove this file.

    Return where its outcome is, in done or fail, and the reason if its failure could
    not be written there; or None if another has it, or if the connection `stop` became
    readable.
    """
    todo, done, fail = (f"{directory}/{state}/{name}" for state in _STATES)
    patience = time.monotonic() + (5 if stop is None else 0)  # seconds, for executors
    while (claim := _claim(todo)) is None:
        if time.monotonic() > patience or not os.path.exists(todo):
            return None
        time.sleep(0.1)  # a task that an executor tries again may be dying still
    with claim:
        started, reason = time.perf_counter(), None
        # The outcome of a runner that was killed is there already.
        outcome = _unsettled(fail, done)
        if outcome is None:
            _log(logfile, name, "start")
            arguments = [todo, done, *options, fail]
            error = _execute(arguments, claim, autokill, logfile, stop)
            if error is None:
                return None
            # If there are both, something went wrong after done was written.
            outcome = _unsettled(fail, done)
            _remove(f"{done}.tmp")  # that of fail is replaced, if there is one
        try:
            if outcome is None:
                _write(fail, _finish(_load(todo), started, None, error), _UNSETTLED)
                outcome = fail
            if outcome == done:
                _remove(fail)
            _remove(todo)
            with suppress(FileNotFoundError):  # the user has it already
                os.utime(outcome)
        except Exception as cause:  # the disk is full, or the file damaged: keep it so
            outcome, reason = fail, cause
            _make(os.path.dirname(fail))
            with suppress(FileNotFoundError):
                os.replace(todo, fail)
        _log(logfile, name, "done" if outcome == done else "fail")
        return outcome, reason


def _claim(path):
    """Open and lock a file, until it is closed both here and in the task."""
    with suppress(FileNotFoundError, PermissionError, BlockingIOError):
        file = open(path, "r+b")  # noqa: SIM115 - writable, as NFS wants it for locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            return file
    return None


def _log(logfile, name, event):
    with suppress(OSError), open(logfile or os.devnull, "a", errors="replace") as log:
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), name, event, file=log)


def _execute(arguments, claim, autokill, logfile, stop):
    """Run the process of a task, leave nothing of it behind, return how it ended.

    Return None if it was stopped, as `stop` became readable.
    """
    import subprocess
    from multiprocessing.connection import Pipe, wait

    # It has to find what this process finds, and gives the task the PYTHONPATH of old.
    path = os.pathsep.join(map(os.fspath, [*sys.path, os.path.dirname(__file__)]))
    watch, leash = Pipe(duplex=False)
    told = f"{watch.fileno()}:{os.environ.get('PYTHONPATH', '')}"
    with open(logfile or os.devnull, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runforrest", *arguments],
            env=os.environ | {"PYTHONPATH": path, "RUNFORREST": told},
            stdin=subprocess.DEVNULL,
            stdout=logfile and log,
            stderr=logfile and log,
            start_new_session=True,
            pass_fds=[claim.fileno(), watch.fileno()],
        )
    end = _end_of(process)
    ready = wait([end] if stop is None else [end, stop], autokill and float(autokill))
    # As long as it isn't reaped, nobody else gets its number, nor its group's.
    with suppress(PermissionError, ProcessLookupError):  # macOS, when all ended
        os.killpg(process.pid, 9)
    wait([end], 5)  # seconds, and go on: what waits for a broken disk does not die
    os.close(end)
    code = process.poll()
    if stop in ready:
        return None
    if not ready:
        return subprocess.TimeoutExpired(process.args, autokill)
    if code == 0:
        return subprocess.SubprocessError(f"{process.args} ended without a result")
    return subprocess.CalledProcessError(code, process.args)


def _end_of(process):
    """Return a descriptor that is readable when a process has ended."""
    with suppress(AttributeError, OSError):  # macOS, and kernels before Linux 5.3
        return os.pidfd_open(process.pid)
    end, writer = os.pipe()
    _thread.start_new_thread(lambda: (process.wait(), os.close(writer)), ())
    return end


def _follow(watch):
    """Have Linux kill this process and its children when nobody holds the leash."""
    with suppress(AttributeError):  # only Linux has this
        fcntl.fcntl(watch, fcntl.F_SETSIG, 9)  # SIGKILL
        fcntl.fcntl(watch, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(watch, fcntl.F_SETFL, os.O_ASYNC)
    os.set_blocking(watch, False)
    with suppress(BlockingIOError):  # but not if the runner is gone already
        os.read(watch, 1)
        os._exit(1)


# Run many -----------------------------------------------------------------------------


def _read(path, reason=None):
    """Read a task for its user; what goes wrong here is in its errorvalue, too."""
    import shlex

    task = defer(None)
    vars(task).update(metadata=None, runtime=None, __report__="")
    try:
        task = _load(path)
        if "returnvalue" in task.__sealed__:
            _, reason = task.returnvalue, reason or task.errorvalue
    except (Exception, SystemExit) as error:  # a value can do anything as it is loaded
        reason = reason or error
    if reason is not None:
        task.returnvalue, task.errorvalue = None, reason
        command = f"python -m runforrest {shlex.quote(path)} result.pkl -r"
        reason.add_note(f"{task.__report__}To debug this: {command}")
    return task


class _Run:
    """The tasks of a run, as they finish; its length is how many there are to run."""

    def __init__(self, tasklist, outcomes_of):
        self._tasklist = tasklist  # which must not clean up before this has ended
        self._names, self._outcomes_of = tasklist._names("todo"), outcomes_of

    def __len__(self):
        return len(self._names)

    def __iter__(self):
        outcomes = filter(None, self._outcomes_of(self._names))
        return (_read(*outcome) for outcome in outcomes)


def _run_here(work, nprocesses, names):
    """Yield what work returns for each name, from as many threads as processes."""
    from multiprocessing.connection import Pipe
    from multiprocessing.pool import ThreadPool

    process, (stop, leash), pool = os.getpid(), Pipe(), ThreadPool(nprocesses)

    def end():
        # It may be called again at the end of all, and by a fork that left the loop.
        if os.getpid() == process and not sys.is_finalizing():
            os.write(leash.fileno(), b"stop")
            pool.terminate()
            pool.join()

    atexit.register(end)  # or tasks would write to what post_clean removes
    try:
        yield from pool.imap_unordered(partial(work, stop=stop), names)
    finally:
        end()
        atexit.unregister(end)


def _run_elsewhere(work, executor, names):
    """Yield what work returns for each name, from wherever the executor calls it."""
    from concurrent.futures import as_completed

    futures = [executor.submit(work, name) for name in names]
    try:
        yield from (future.result() for future in as_completed(futures))
    finally:
        for future in futures:
            future.cancel()


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
        if _is_loading:  # or a task would do all that its script does
            raise RuntimeError("a task runs this, too: use if __name__ == '__main__'")
        exists, reuse = os.path.lexists(directory), exist_ok or noschedule_if_exist
        if exists and not (reuse and os.path.isdir(directory)):
            raise RuntimeError(
                f"TaskList directory {directory!r} exists already: choose another, or"
                " pass exist_ok=True, and pre_clean=False to keep the tasks in it"
            )
        self._directory = os.path.abspath(directory)
        self._logfile = os.path.abspath(logfile) if logfile else None
        self._newest = 0
        self._noschedule = exists and noschedule_if_exist
        if exists and pre_clean and not self._noschedule:
            self.clean()
        while (spare := os.open(os.devnull, os.O_RDWR)) < 3:
            # No file of a task, and no pipe, is to be taken for a standard stream.
            os.set_inheritable(spare, True)
        os.close(spare)
        for state in _STATES:
            _make(f"{self._directory}/{state}")
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

    def schedule(self, task, metadata=None):
        """Write a task to a file in todo, where it survives whatever happens.

        metadata: anything that shall come back as `task.metadata`

        TypeError if it isn't a task; else what pickling it or writing the file raises.
        """
        if type(task) is not Task:
            raise TypeError(f"{task!r} isn't a task: make one, with defer(fun, arg)")
        if self._noschedule:
            return
        self._newest = max(self._newest + 1, time.time_ns())  # names sort in this order
        name = f"{self._newest}-{os.urandom(4).hex()}.pkl"
        _write(f"{self._directory}/todo/{name}", _freeze(task, metadata))
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
        autokill: seconds after which to kill a task and all processes it has started,
            at most 2e6
        executor: a concurrent.futures.Executor that runs them, instead of nprocesses
        """
        if not hasattr(nprocesses, "__index__") or nprocesses < 1:
            raise ValueError(f"nprocesses must be 1, 2, 3, ..., not {nprocesses!r}")
        timed = hasattr(autokill, "__float__") and 0 < autokill < 2e6
        if autokill is not None and not timed:
            raise ValueError(f"autokill must be seconds, 0 < x < 2e6, not {autokill!r}")
        if executor is not None and not hasattr(executor, "submit"):
            raise TypeError(f"executor must have a submit method, not be {executor!r}")
        session = f"{self._directory}/todo/.session.pkl" if save_session else ""
        if session:
            names = [name for name in vars(sys.modules["__main__"]) if name[:2] != "__"]
            _write(session, _definitions(names))
        options = session, "print" if print_errors else "", ""
        work = partial(_run_file, self._directory, autokill, self._logfile, options)
        if executor is None:
            return _Run(self, partial(_run_here, work, nprocesses))
        return _Run(self, partial(_run_elsewhere, work, executor))

    def _names(self, state):
        """The names of all task files, in the order in which they were scheduled."""
        names = _files(f"{self._directory}/{state}")
        return [n for n in names if n.endswith(".pkl") and not n.startswith(".")]

    def _tasks(self, state):
        return (_read(f"{self._directory}/{state}/{n}") for n in self._names(state))

    todo_tasks = partialmethod(_tasks, "todo")
    done_tasks = partialmethod(_tasks, "done")
    fail_tasks = partialmethod(_tasks, "fail")

    def clean(self, clean_todo=True, clean_done=True, clean_fail=True):
        """Remove the files of this library, and the directories that are empty then."""
        import re

        is_ours = re.compile(r"(\d{19}-[0-9a-f]{8}|\.session)\.pkl(\.tmp)?").fullmatch
        wanted = {"todo": clean_todo, "done": clean_done, "fail": clean_fail}
        for state in filter(wanted.get, wanted):
            for name in filter(is_ours, _files(f"{self._directory}/{state}")):
                _remove(f"{self._directory}/{state}/{name}")
        for state in (*_STATES, ""):  # and last the directory itself
            with suppress(OSError):  # a task or a user's file is in it
                os.rmdir(f"{self._directory}/{state}")


# The command line ---------------------------------------------------------------------


def main(args=None):
    """Run one task file, as `python -m runforrest` does, and return the exit code."""
    import argparse

    add = (parser := argparse.ArgumentParser("python -m runforrest")).add_argument
    add("infile", help="a file with a task, which stays as it is")
    add("outfile", help="the file to write with the task and its outcome")
    add("-r", "--do_raise", action="store_true", help="raise the task's error")
    add("-p", "--do_print", action="store_true", help="print the task's error")
    add("-s", "--sessionfile", metavar="FILE", help="a file with the script's globals")
    options = parser.parse_args(args)
    infile, outfile = map(os.path.realpath, (options.infile, options.outfile))
    if outfile == infile or (os.path.lexists(outfile) and not os.path.isfile(outfile)):
        parser.error(f"{outfile!r} is the infile, or no file: choose another")
    return run_task(**vars(options))


if _is_program:
    import gc

    gc.freeze()  # the garbage collector need not look through this at the end
    # The second name is that of scripts in the workers of multiprocessing.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = ModuleType("__main__")
    sys.modules["__main__"].__builtins__ = __builtins__
    watch, _, path = os.environ.pop("RUNFORREST", "").partition(":")
    if watch:
        os.environ["PYTHONPATH"] = path
        _follow(int(watch))
        # What a task printed is seen at once, whatever happens to it.
        sys.stdout.reconfigure(line_buffering=True)
    # A runner gives the arguments as such, as argparse takes as long as all else here.
    sys.exit(run_task(*sys.argv[1:]) if watch else main())
