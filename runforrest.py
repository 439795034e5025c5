"""Run many function calls, each in a process of its own, and lose none of them.

    from runforrest import TaskList, defer

    tasklist = TaskList("tasklist")
    for item in long_list_of_stuff:
        task = defer(prepare, item)
        task = defer(dostuff, task[1], task.thing)
        tasklist.schedule(task)
    for task in tasklist.run(nprocesses=4):
        result = task.returnvalue  # or task.errorvalue

The files of a task NAME, in the order in which they come and go:

    todo/NAME.pkl       scheduled; whoever runs it holds a lock on it
    todo/NAME.pkl.done  (or .fail) its outcome, written whole by the process of the task
    done/NAME.pkl       (or fail/) the same, renamed after todo/NAME.pkl was removed

So the names alone tell how far a task has come, whenever all processes were killed. A
file that is copied from done or fail to todo runs again. To run one by hand, in a
debugger:

    python -m pdb -m runforrest tasklist/fail/NAME.pkl result.pkl --do_raise

The infile is never changed; the outfile is written whole or not at all. The exit code
is 0 for a success, and 1 for a failure.
"""

# Every task starts this module in a process of its own, so what is imported here is the
# price of every task. What only the caller needs is imported where it is used.
import _pickle as pickle  # the part of it that is written in C, at a third of the price
import _thread
import abc
import fcntl
import importlib
import io
import marshal
import operator
import os
import sys
import time
import types
from contextlib import nullcontext, suppress
from functools import cache, lru_cache, partial, partialmethod
from graphlib import TopologicalSorter
from types import CellType, CodeType, FunctionType, ModuleType

__version__ = "1.1.0"
__all__ = ["Task", "TaskList", "defer", "evaluate"]
if __name__ == "__main__":  # be the module that task files refer to, not the script
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
        self.__node__, self.__id__ = (fun, args, kwargs), os.urandom(16)

    def __getattr__(self, name):
        if name in vars(self).get("__pickled__", ()):
            return vars(self).setdefault(name, pickle.loads(self.__pickled__[name])[-1])
        if name[:2] == "__" or name in ("returnvalue", "errorvalue"):
            raise AttributeError(f"this task has no {name!r} (has it run?)")
        return Task(getattr, (self, name), {})

    def __getitem__(self, key):
        return Task(operator.getitem, (self, key), {})

    def __call__(self, /, *args, **kwargs):
        return Task(self, args, kwargs)

    __iter__ = None  # or Python would try task[0], task[1], ... for ever

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


def _replace(data, replacement, known=None):
    """Replace the tasks in data; what contains none is returned as the same object.

    known: what containers that were met already are replaced by
    """
    known, kind = {} if known is None else known, type(data)
    if kind is Task:
        return replacement(data)
    if kind in _SEARCHED and id(data) not in known:
        known[id(data)] = data  # for those that contain themselves
        parts = [*data, *data.values()] if kind is dict else [*data]
        if not _SEARCHED.isdisjoint(map(type, parts)):
            new = [_replace(part, replacement, known) for part in parts]
            if any(map(operator.is_not, new, parts)):
                pairs = zip(new, new[len(data) :], strict=False)
                known[id(data)] = kind(pairs if kind is dict else new)
    return known.get(id(data), data)


_SEARCHED = {Task, list, tuple, set, frozenset, dict}


# Turn it into bytes, with all that it needs of the script -----------------------------


class _Now(partial):
    """A call that is pickled as such, and made as soon as it is loaded."""


class _Pickler(pickle.Pickler):
    """The one in C, which, as an instance of this, has attributes."""


def _dump(value, names, by_value=False, kind=_Pickler):
    """Pickle a value.

    names: a list, to which the names are added that its functions and classes use:
        those of globals, and after a dot all others
    by_value: pickle the functions and classes of the script itself, not their names
    """
    pickler = kind(stream := io.BytesIO(), 5)
    pickler.reducer_override = partial(_reduce, names, by_value)
    with suppress(Exception if kind is _Pickler else ()):
        pickler.dump(value)
        return stream.getvalue()
    # It can do more, but takes long.
    return _dump(value, names, by_value, importlib.import_module("dill").Pickler)


def _reduce(names, by_value, obj):
    """Say how to make again what pickle can't, or does wrongly.

    As all such functions, return a function, its arguments, and what to put into the
    object that it makes, after that is known to others; or a name; or NotImplemented.
    """
    kind = type(obj)
    home = sys.modules.get("types" if kind is type else _HOMES.get(kind.__module__))
    for name in [k for k, v in vars(home).items() if v is obj] if home else ():
        return getattr, (home, name)
    if isinstance(obj, _NAMED):
        path = getattr(obj, "__qualname__", "")
        of_script = obj.__module__ in ("__main__", "__mp_main__", None)
        names += [path.split(".")[0]] if of_script else []
        with suppress(Exception):  # if it is not found under its name
            if not (by_value and of_script) and pickle.dumps(obj):
                return path
        annotations = {}
        with suppress(Exception):  # since Python 3.14, they may be of what is not there
            annotations = obj.__annotations__
    if kind in _MAKE:
        return _MAKE[kind](obj)
    if kind is ModuleType and sys.modules.get(obj.__name__) is obj:
        names += ["." + word for word in obj.__name__.split(".")]
        return importlib.import_module, (obj.__name__,)
    if kind is FunctionType:
        scope, used, own, fill = obj.__globals__, _names_of(obj.__code__), {}, None
        names += used
        home = sys.modules.get(scope.get("__name__"))
        if home and all(scope.get(k) is vars(home).get(k) for k in used):
            own = _Now(vars, home)
        else:  # exec has globals of its own, and IPython and doctest have copies
            fill = _Now(dict.update, own, {k: scope[k] for k in used if k in scope})
        args = obj.__code__, own, obj.__name__, obj.__defaults__, obj.__closure__
        state = {k: getattr(obj, k) for k in _STATE} | {"__annotations__": annotations}
        return FunctionType, args, (fill, state)
    if isinstance(obj, type) and "__module__" in vars(obj):  # written in Python
        made = {k: v for k, v in vars(obj).items() if not {k, type(v).__name__} & _ANEW}
        made["__annotations__"] = annotations
        body = {k: made[k] for k in ("__slots__", "__orig_bases__") if k in made}
        args = kind, obj.__name__, obj.__bases__, {**body, "__qualname__": path}
        make = (abc.ABCMeta if isinstance(obj, abc.ABCMeta) else type).__new__
        calls = [_Now(type.__setattr__, obj, *item) for item in made.items()]
        return make, args, calls, None, None, operator.is_
    if by_value and hasattr(kind, "_member_map_") and kind.__module__ == "__main__":
        return obj._member_type_.__new__, object.__reduce_ex__(obj, 2)[1], vars(obj)
    if kind.__name__ in ("TypeVar", "ParamSpec") and kind.__module__ == "typing":
        return kind, (obj.__name__, *getattr(obj, "__constraints__", ()))
    if isinstance(obj, io.IOBase) and {*str(getattr(obj, "mode", ""))} & {*"wax+2"}:
        raise TypeError(f"{obj!r} is open for writing: open it in a task instead")
    own_init = type(kind.__init__) is FunctionType is not type(kind.__reduce__)
    if own_init and issubclass(kind, BaseException):  # which pickle would call again
        return kind.__new__, (kind, *obj.args), {**vars(obj), "args": obj.args}
    if kind is types.MethodType and getattr(obj.__self__, obj.__name__, None) != obj:
        return kind, (obj.__func__, obj.__self__)
    return NotImplemented


_NAMED = type, FunctionType, type(cache(id))
_HOMES = {"_io": "sys", "dataclasses": "dataclasses"}  # with things that are unique
_STATE = "__dict__", "__doc__", "__kwdefaults__", "__module__", "__qualname__"
_ANEW = {"getset_descriptor", "member_descriptor", "_abc_data"}  # types, and names
_ANEW |= {"__annotate_func__", "__annotations_cache__"}
_MAKE = {
    _Now: lambda it: (it.func, it.args),
    CodeType: lambda it: (marshal.loads, (marshal.dumps(it),)),
    CellType: lambda it: (CellType, (), (None, {"cell_contents": it.cell_contents})),
    type(cache(id)): lambda f: (lru_cache(**f.cache_parameters()), (f.__wrapped__,)),
    # Which Python 3.14 can't make without its arguments.
    partialmethod: lambda p: (partial(type(p), p.func, *p.args, **p.keywords), ()),
    property: lambda it: (property, (it.fget, it.fset, it.fdel, it.__doc__)),
    types.MappingProxyType: lambda it: (types.MappingProxyType, (dict(it),)),
    **dict.fromkeys((classmethod, staticmethod), lambda it: (type(it), (it.__func__,))),
    _thread.LockType: lambda it: (_thread.allocate_lock, ()),
    _thread.RLock: lambda it: (_thread.RLock, ()),  # which dill would never release
}


@cache
def _names_of(code):
    """The globals that a function, or one in it, uses; after a dot, all its names."""
    steps = importlib.import_module("dis").get_instructions(code)
    used = {s.argval for s in steps if "GLOBAL" in s.opname or s.opname == "LOAD_NAME"}
    inner = [const for const in code.co_consts if type(const) is CodeType]
    return used.union(["." + name for name in code.co_names], *map(_names_of, inner))


def _definitions(names):
    """Pickle the globals of the script with these names, and all that they refer to.

    They define themselves when they are loaded: what has a name itself first, and last
    what was found first, as it may need the others. Return also why some are not in it.
    """
    main, found, why_not = sys.modules["__main__"], {}, {}
    scope = vars(main)
    for name in names:  # to which those are appended that are found
        if name in scope and name not in found | why_not:
            value = scope[name] if scope[name] is not scope else _Now(vars, main)
            try:
                _dump(value, names, by_value=True)
                found[name] = value
            except Exception as error:
                why_not[name] = repr(error)
    # Modules that are used as parts of others: `xml.dom.minidom`.
    words = {name.strip(".") for name in names}
    modules = {n: m for n, m in sys.modules.copy().items() if type(m) is ModuleType}
    parts = [m for n, m in modules.items() if "." in n and words >= {*n.split(".")}]
    order = [name for name in dict.fromkeys(reversed(names)) if name in found]
    order.sort(key=lambda name: not hasattr(found[name], "__name__"))
    calls = [_Now(setattr, main, name, found[name]) for name in order]
    return _dump([*parts, *calls], [], by_value=True), why_not


# Write and read a file ----------------------------------------------------------------


def _write(path, value):
    """Write a pickle to a file that survives a power cut, or to none."""
    os.makedirs(directory := os.path.dirname(path), exist_ok=True)
    try:
        with open(f"{path}.tmp", "wb") as file:
            pickle.dump(value, file, 5)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.tmp", path)
    finally:
        _remove(f"{path}.tmp")
    opened = os.open(directory, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


def _load(path):
    with open(path, "rb") as file:
        try:
            task = pickle.load(file)
            return vars(task)["__globals__"] and task
        except Exception as error:
            raise ValueError(f"{path!r} is damaged, or of another version") from error


def _finish(path, task, started, value, error, report=""):
    """Write a task with its outcome; report is the traceback, of which it is told."""
    outcome = {"returnvalue": value, "errorvalue": error, "__report__": report}
    task.__pickled__ |= {name: _dump([it], []) for name, it in outcome.items()}
    task.runtime = time.perf_counter() - started  # seconds
    _write(path, task)


def _read(path, error=None):
    """Read a task for its user; what goes wrong here is in its errorvalue, too."""
    task = Task(None, (), {})
    task.metadata = task.runtime = None
    try:
        task = _load(path)
        if "returnvalue" in task.__pickled__ or path.split("/")[-2] == "fail":
            _, error = task.returnvalue, error or task.errorvalue
    except (Exception, SystemExit) as reason:  # a value can do anything as it is loaded
        error = error or reason
    if error is not None:
        note = f"To debug this: python -m runforrest {path!r} result.pkl -r"
        error.add_note(getattr(task, "__report__", "") + note)
        vars(task).update(returnvalue=None, errorvalue=error)
    return task


def _remove(path):
    with suppress(FileNotFoundError):
        os.unlink(path)


# Run one file -------------------------------------------------------------------------


def run_task(infile, outfile, sessionfile, do_print, do_raise, failfile=None):
    """Evaluate the task in a file, write it with its outcome, return the exit code.

    sessionfile: a file with more globals of the script
    do_print, do_raise: what to do with an error, after it was written
    failfile: where to write a failure, if not to the outfile

    This writes to `__main__` and `sys.path`: use a process of its own.
    """
    task, absent, started = _load(infile), {}, time.perf_counter()
    try:
        sys.path[:] = dict.fromkeys(task.__path__ + sys.path)
        session = [_load(sessionfile)] if sessionfile else []
        for definitions, why_not in [it.__globals__ for it in (task, *session)]:
            absent |= why_not
            pickle.loads(definitions)
        call = Task(*pickle.loads(task.__pickled__["__node__"])[-1])
        _finish(outfile, task, started, evaluate(call), None)
        return 0
    except BaseException as error:
        import traceback

        text = traceback.format_exception_only(error)[0].strip()
        explained = absent if isinstance(error, (NameError, AttributeError)) else ()
        for name in [n for n in explained if repr(n) in text.replace(".", "'")]:
            error.add_note(f"{name} did not come along: {absent[name]}")
        report, told = "".join(traceback.format_exception(error)), error
        try:
            pickle.loads(_dump(error, []))
        except Exception:
            told = RuntimeError(text)
        _finish(failfile or outfile, task, started, None, told, report)
        if do_print:
            traceback.print_exception(error)
        if do_raise and not isinstance(error, SystemExit):  # whose code might be 0
            raise
        return 1


def _follow(leash):
    """Have this process and its children killed when the run lets the leash go."""
    if hasattr(fcntl, "F_SETSIG"):  # Linux does it, whatever this process is doing
        fcntl.fcntl(leash, fcntl.F_SETSIG, 9)
        fcntl.fcntl(leash, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(leash, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        with suppress(BlockingIOError):  # but not if it is gone already
            os._exit(os.read(leash, 1) == b"")
    else:
        _thread.start_new_thread(lambda: os.read(leash, 1) or os.killpg(0, 9), ())


def _claim(path, wait):
    """Open and lock a file, until it is closed both here and in the task's process."""
    with suppress(FileNotFoundError, PermissionError, BlockingIOError):
        file = open(path, "r+b")  # noqa: SIM115 - writable, as NFS wants it for locks
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            return file
    return None


def _outcome(todo):
    """Whether a task has failed or is done, if it has run, by the files beside it."""
    return next((s for s in ("fail", "done") if os.path.exists(f"{todo}.{s}")), None)


# Run many -----------------------------------------------------------------------------


class _Run(types.SimpleNamespace):
    """The tasks of a run, as they finish; its length is how many there are to run."""

    def __len__(self):
        return len(self.names)

    def __iter__(self):
        return (_read(*outcome) for outcome in self.outcomes_of(self.names) if outcome)


def _run_here(nprocesses, work, names):
    """Yield what work returns for each name, from as many threads as processes."""
    from multiprocessing.connection import Pipe
    from multiprocessing.pool import ThreadPool
    from weakref import finalize

    leashes = [Pipe(duplex=False) for _ in names[:nprocesses]]
    pool = ThreadPool(len(leashes) or 1)

    def leave():
        for _, leash in leashes:
            leash.close()  # which kills what is running
        pool.terminate()
        pool.join()

    # Also when the script ends in the midst of it; and a fork has no part in it.
    os.register_at_fork(after_in_child=(end := finalize(pool, leave)))
    try:
        yield from pool.imap_unordered(partial(work, idle=[*leashes]), names)
    finally:
        end()


def _run_elsewhere(executor, work, names):
    """Yield what work returns for each name, from wherever the executor calls it."""
    from concurrent.futures import as_completed

    futures = [executor.submit(work, name) for name in names]
    try:
        yield from (future.result() for future in as_completed(futures))
    finally:
        for future in futures:
            future.cancel()


_STATES = "todo", "done", "fail"


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
        own = os.environ.get("RUNFORREST", "")
        real, path = os.path.realpath, os.path.normpath(directory)
        if own and (own.endswith(f"/{path}") or real(own) == real(path)):
            raise RuntimeError("a task runs this, too: use if __name__ == '__main__'")
        exists, reuse = os.path.lexists(directory), exist_ok or noschedule_if_exist
        if exists and not (reuse and os.path.isdir(directory)):
            hint = "choose another, or pass exist_ok=True, pre_clean=False to keep it"
            raise RuntimeError(f"{directory!r} exists already: {hint}")
        self._directory = os.path.abspath(directory)
        self._logfile = logfile and os.path.abspath(logfile)
        open(logfile or os.devnull, "a").close()  # if it can't be written, say so now
        self._noschedule = exists and noschedule_if_exist
        if pre_clean and not self._noschedule:
            self.clean()
        for state in _STATES:
            os.makedirs(f"{self._directory}/{state}", exist_ok=True)
        if post_clean:
            from copy import copy
            from weakref import finalize

            cleaner = finalize(self, copy(self).clean)
            os.register_at_fork(after_in_child=cleaner.detach)

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
        names, frozen = ["__package__"], Task.__new__(Task)
        *calls, _ = _in_order(task)  # and so the pickle is flat
        graph = _dump([*calls, task.__node__], names)
        frozen.__pickled__ = {"__node__": graph, "metadata": _dump([metadata], [])}
        frozen.__id__, frozen.__globals__ = task.__id__, _definitions(names)
        frozen.__path__ = [os.path.abspath(path) for path in sys.path]
        name = f"{time.time_ns()}-{os.urandom(4).hex()}.pkl"  # they sort in this order
        _write(f"{self._directory}/todo/{name}", frozen)
        self._log(name, "schedule")

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
        if not (hasattr(nprocesses, "__index__") and nprocesses > 0):
            raise ValueError(f"nprocesses must be 1, 2, 3, ..., not {nprocesses!r}")
        if not (autokill is None or hasattr(autokill, "__float__") and autokill > 0):
            raise ValueError(f"autokill must be seconds, above 0, not {autokill!r}")
        session = f"{self._directory}/todo/.session.pkl" if save_session else ""
        if save_session:
            names = [name for name in vars(sys.modules["__main__"]) if name[:2] != "__"]
            _write(session, types.SimpleNamespace(__globals__=_definitions(names)))
        options = session, "print" if print_errors else "", ""
        work = partial(self._run_file, options, autokill)
        run = (_run_elsewhere, executor) if executor else (_run_here, nprocesses)
        names = self._names("todo", r"([^.].*\.pkl)(\.done|\.fail)?")
        return _Run(names=names, outcomes_of=partial(*run, work))

    def _run_file(self, options, autokill, name, idle=None):
        """Run the task in a file in todo, in a process of its own, and commit it.

        idle: the leashes of which it takes one; without them it has one of its own, and
            waits for the lock, as an executor may run again what is dying yet

        Return where its outcome is, in done or fail, and the reason if it is the file
        itself; or None if another runner has it, or if the leash was let go.
        """
        from multiprocessing.connection import Pipe

        todo, reason = f"{self._directory}/todo/{name}", None
        claim = _claim(todo, wait=idle is None)
        if claim is None and os.path.exists(todo):
            return None
        with claim or nullcontext():
            if claim and not _outcome(todo):
                self._log(name, "start")
                started = time.perf_counter()
                idle = idle or [Pipe(duplex=False)]
                watch, _ = leash = idle.pop()
                error = self._execute(todo, claim, watch, options, autokill)
                idle.append(leash)
                if not (_outcome(todo) or watch.poll()):  # as the leash was let go
                    try:  # whole, whatever comes
                        os.replace(todo, f"{todo}.fail")
                        task = _load(f"{todo}.fail")
                        _finish(f"{todo}.fail", task, started, None, error)
                    except Exception as cause:  # it is damaged, or the disk is full
                        reason = cause
            if state := _outcome(todo):
                # The rename comes last, as then there is nothing left to be found.
                path, fail = (f"{self._directory}/{s}/{name}" for s in (state, "fail"))
                _remove(todo)
                _remove(fail if state == "done" else f"{todo}.done")
                self._log(name, state)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with suppress(FileNotFoundError):  # if another runner was faster
                    os.replace(f"{todo}.{state}", path)
                    return path, reason
        return None

    def _execute(self, todo, claim, watch, options, autokill):
        """Run the process of a task, leave nothing behind, return how it ended."""
        import subprocess

        # It has to find what this process finds, and gives the task the path of old.
        path = os.pathsep.join(map(os.fspath, [*sys.path, os.path.dirname(__file__)]))
        own = "--leash", str(watch.fileno()), os.environ.get("PYTHONPATH", "")
        # PYTHONPATH can't hold a directory with a colon.
        named = ["-m", "runforrest"] if os.pathsep not in __file__ else [__file__]
        arguments = *own, todo, f"{todo}.done", *options, f"{todo}.fail"
        with open(self._logfile, "ab") if self._logfile else nullcontext() as log:
            process = subprocess.Popen(
                [sys.executable, "-P", *named, *arguments],
                env=os.environ | {"PYTHONPATH": path, "RUNFORREST": self._directory},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[claim.fileno(), watch.fileno()],
            )
        try:
            if code := process.wait(autokill):
                return subprocess.CalledProcessError(code, process.args)
            return subprocess.SubprocessError(f"{process.args} ended without a result")
        except subprocess.TimeoutExpired as error:
            return error
        finally:
            with suppress(OSError, subprocess.TimeoutExpired):
                os.killpg(process.pid, 9)  # an error if all have ended
                process.wait(5)  # seconds: what waits for a broken disk does not die

    def _log(self, name, event):
        with open(self._logfile or os.devnull, "a", errors="replace") as log:
            print(time.strftime("%Y-%m-%dT%H:%M:%S"), name, event, file=log)

    def _names(self, state, pattern=r"([^.].*\.pkl)"):
        """The names of task files, in the order in which they were scheduled."""
        import re

        path = f"{self._directory}/{state}"
        with suppress(FileNotFoundError), os.scandir(path) as entries:
            files = filter(os.path.isfile, entries)
            matches = [re.fullmatch(pattern, file.name, re.S) for file in files]
            return sorted({match[1] for match in matches if match})
        return []

    def _tasks(self, state):
        return (_read(f"{self._directory}/{state}/{n}") for n in self._names(state))

    todo_tasks = partialmethod(_tasks, "todo")
    done_tasks = partialmethod(_tasks, "done")
    fail_tasks = partialmethod(_tasks, "fail")

    def clean(self, clean_todo=True, clean_done=True, clean_fail=True):
        """Remove the files of this library, and the directories that are empty then."""
        ours = r"((\d{19}-[0-9a-f]{8}|\.session)\.pkl(\.done|\.fail)?(\.tmp)?)"
        wanted = clean_todo, clean_done, clean_fail
        for state in [s for s, clean in zip(_STATES, wanted, strict=True) if clean]:
            for name in self._names(state, ours):
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
    add("outfile", type=os.path.abspath, help="the file to write, with the outcome")
    add("-r", "--do_raise", action="store_true", help="raise the task's error")
    add("-p", "--do_print", action="store_true", help="print the task's error")
    add("-s", "--sessionfile", metavar="FILE", help="a file with the script's globals")
    return run_task(**vars(parser.parse_args(args)))


if sys.modules["__main__"] is sys.modules[__name__]:
    # The second name is that of scripts in the workers of multiprocessing.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = ModuleType("__main__")
    sys.modules["__main__"].__builtins__ = __builtins__
    if sys.argv[1:2] == ["--leash"]:
        _, _, leash, os.environ["PYTHONPATH"], *arguments = sys.argv
        _follow(int(leash))
        # What a task printed is seen at once, whatever happens to it.
        sys.stdout.reconfigure(line_buffering=True)
        sys.exit(run_task(*arguments))
    sys.exit(main())
