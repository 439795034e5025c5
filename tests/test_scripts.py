"""Scripts that define all they need in themselves, and are run as their users would.

Each script runs in a process of its own, in another directory than the one it is in.
Its comments are what it shall print: one a line, and behind what prints it.
"""

import re
import subprocess
import sys
import zipapp
from textwrap import dedent

import pytest

PRELUDE = """\
from runforrest import TaskList, defer


def run(task, **options):
    tasklist = TaskList("tasklist", exist_ok=True)
    tasklist.schedule(task)
    [finished] = tasklist.run(nprocesses=1, **options)
    return finished


def call(fun, *args, **kwargs):
    finished = run(defer(fun, *args, **kwargs))
    if finished.errorvalue is not None:
        raise finished.errorvalue
    return finished.returnvalue


"""

FUNCTIONS = {
    "a function that remembers, and has no name": """
        from functools import cache, partial

        power = cache(partial(pow, 2))
        print(call(power, 5))  # 32
        """,
    "a function": """
        def double(x):
            return 2 * x

        print(call(double, 21))  # 42
        """,
    "a helper function": """
        def helper(x):
            return 2 * x

        def double(x):
            return helper(x)

        print(call(double, 21))  # 42
        """,
    "a helper of a helper, defined after its user": """
        def first(x):
            return second(x) + 1

        def second(x):
            return third(x) + 1

        def third(x):
            return x + 1

        print(call(first, 0))  # 3
        """,
    "recursion": """
        def factorial(n):
            return n * factorial(n - 1) if n else 1

        print(call(factorial, 10))  # 3628800
        """,
    "mutual recursion": """
        def is_even(n):
            return n == 0 or is_odd(n - 1)

        def is_odd(n):
            return n != 0 and is_even(n - 1)

        print(call(is_even, 10), call(is_odd, 10))  # True False
        """,
    "decorated recursion": """
        import functools

        def logged(fun):
            @functools.wraps(fun)
            def wrapper(n):
                calls.append(n)
                return fun(n)
            return wrapper

        calls = []

        @logged
        def factorial(n):
            return n * factorial(n - 1) if n else 1

        def count(n):
            return factorial(n), calls

        print(call(count, 3))  # (6, [3, 2, 1, 0])
        print(calls)  # []
        """,
    "a helper with a cache": """
        from functools import lru_cache

        @lru_cache(maxsize=None)
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        def use(n):
            return fibonacci(n), fibonacci.cache_info().misses

        print(call(use, 80))  # (23416728348467685, 81)
        """,
    "a function with a cache": """
        from functools import cache

        @cache
        def double(x):
            return 2 * x

        print(call(double, 21))  # 42
        """,
    "a closure": """
        def adder(n):
            def add(x):
                return x + n
            return add

        print(call(adder(2), 40))  # 42
        """,
    "a recursive closure": """
        def make(base):
            def factorial(n):
                return n * factorial(n - 1) if n else base
            return factorial

        print(call(make(10), 4))  # 240
        """,
    "two mutually recursive closures": """
        def make():
            def is_even(n):
                return n == 0 or is_odd(n - 1)
            def is_odd(n):
                return n != 0 and is_even(n - 1)
            return is_even, is_odd

        print([call(fun, 7) for fun in make()])  # [False, True]
        """,
    "two closures that share a variable": """
        def counter():
            count = 0
            def increase():
                nonlocal count
                count += 1
            def get():
                return count
            return increase, get

        increase, get = counter()

        def increase_twice():
            increase()
            increase()
            return get()

        print(call(increase_twice))  # 2
        """,
    "functions that are nested three deep": """
        constant = 1000

        def outer(a):
            def middle(b):
                def inner(c):
                    return a + b + c + constant
                return inner
            return middle

        print(call(outer(1)(10), 100))  # 1111
        """,
    "a lambda": """
        offset = 2
        print(call(lambda x: x + offset, 40))  # 42
        """,
    "a lambda that has a name, and another as default": """
        double = lambda x: 2 * x
        quadruple = lambda x, twice=double: twice(double(x))
        print(call(quadruple, 10))  # 40
        """,
    "a partial of a function": """
        from functools import partial

        def power(base, exponent):
            return base ** exponent

        square = partial(power, exponent=2)

        def use():
            return square(5)

        print(call(partial(power, 2), 10), call(square, 3), call(use))  # 1024 9 25
        """,
    "a decorator": """
        from functools import wraps

        def doubled(fun):
            @wraps(fun)
            def wrapper(*args):
                return 2 * fun(*args)
            return wrapper

        @doubled
        def add(a, b):
            return a + b

        print(call(add, 1, 2), add.__name__)  # 6 add
        """,
    "a decorator of another module that refers to what it returns": """
        from beside import counted

        @counted
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)

        class Account:
            @counted
            def get(self, x):
                return x

        def use():
            return factorial(5), factorial.calls

        print(call(factorial, 5), call(use))  # 120 (120, 5)
        print(call(Account().get, 1))  # 1
        """,
    "a method of a class that remembers": """
        from functools import cache

        class Model:
            @classmethod
            @cache
            def load(cls):
                return cls()

        def is_the_same(load):
            return load() is Model.load() is load()

        print(call(is_the_same, Model.load))  # True
        """,
    "the globals as a global, and a module's": """
        import queue

        count, here, there = 1, globals(), vars(queue)

        def change():
            here["count"] = there["Empty"] = 5
            return count, queue.Empty, here is globals()

        print(call(change))  # (5, 5, True)
        """,
    "a module that is something else, and refuses to be sent": """
        import sys
        import types
        import email.mime.text

        class Settings(types.ModuleType):
            def __reduce__(self):
                raise TypeError("these are mine")

        sys.modules["email.settings"] = email.settings = Settings("settings")

        def use(named):
            return email.settings.name if named else email.mime.text.__name__

        print(call(use, False))  # email.mime.text
        """,
    "a function of a module that is called as a global of the script": """
        import statistics
        from pathlib import Path

        mean = bytes(1_000_000)
        task = run(defer(statistics.mean, [1, 2, 3]))
        with open(sorted(Path("tasklist", "done").iterdir())[-1], "rb") as file:
            print(task.returnvalue, len(file.read()) < 10_000)  # 2 True
        """,
    "methods that are not found under their names": """
        def without_wraps(fun):
            def wrapper(self, *args):
                return "wrapped", fun(self, *args)
            return wrapper

        class Model:
            @without_wraps
            def fit(self, x):
                return x
            def __hidden(self, x):
                return x + 1
            def use_hidden(self):
                return call(self.__hidden, 1)
            def name(self):
                return "model"
            alias, short = name, lambda self: "short"

        class Better(Model):
            def name(self):
                return "better"
            def use_super(self):
                return call(super().name), call(self.name), call(self.alias)

        def use(fit):
            return fit(1)

        print(call(Model().fit, 1), Model().use_hidden())  # ('wrapped', 1) 2
        print(call(use, Model().fit))  # ('wrapped', 1)
        print(call(Model().short), *Better().use_super())  # short model better model
        """,
    "functions of a file that was run to copy its globals": """
        source = '''
        import sqlite3

        database, offset, count = sqlite3.connect(":memory:"), 40, [0]

        class Wrong(Exception):
            pass

        def add(x):
            count[0] += 1
            return x + offset

        def use(x):
            return add(x) + add(0), count

        def fail():
            raise Wrong(offset)
        '''
        scope = {"__name__": "__main__"}
        exec(source, scope)
        globals().update(scope)
        scope["__name__"] = None
        print(call(use, 1))  # (81, [2])
        print(isinstance(run(defer(fail)).errorvalue, Wrong))  # True
        """,
    "a function of a file whose globals were copied, and changed since": """
        scope = {"__name__": "__main__", "offset": 40}
        exec("def add(x): return x + offset", scope)
        globals().update(scope)
        offset, scope["__name__"] = 1, None
        print(call(add, 1))  # 41
        """,
    "a decorator without wraps": """
        def doubled(fun):
            return lambda *args: 2 * fun(*args)

        @doubled
        def add(a, b):
            return a + b

        print(call(add, 1, 2))  # 6
        """,
    "a decorator with arguments, used twice": """
        from functools import wraps

        def times(factor):
            def decorate(fun):
                @wraps(fun)
                def wrapper(*args):
                    return factor * fun(*args)
                return wrapper
            return decorate

        @times(2)
        @times(10)
        def add(a, b):
            return a + b

        print(call(add, 1, 2))  # 60
        """,
    "a decorator that is a class": """
        class Counted:
            def __init__(self, fun):
                self.fun, self.count = fun, 0
            def __call__(self, *args):
                self.count += 1
                return self.fun(*args), self.count

        @Counted
        def add(a, b):
            return a + b

        print(call(add, 1, 2))  # (3, 1)
        """,
    "a generator function": """
        def squares(n):
            for i in range(n):
                yield i ** 2

        def total(n):
            return sum(squares(n))

        print(call(total, 4))  # 14
        """,
    "generators that delegate to each other": """
        def flatten(tree):
            for item in tree:
                if isinstance(item, list):
                    yield from flatten(item)
                else:
                    yield item

        def flat(tree):
            return list(flatten(tree))

        print(call(flat, [1, [2, [3]], 4]))  # [1, 2, 3, 4]
        """,
    "a context manager": """
        from contextlib import contextmanager

        log = []

        @contextmanager
        def logging(name):
            log.append("enter " + name)
            yield name
            log.append("leave " + name)

        def use():
            with logging("it") as name:
                log.append(name)
            return log

        print(call(use))  # ['enter it', 'it', 'leave it']
        """,
    "singledispatch": """
        from functools import singledispatch

        @singledispatch
        def describe(x):
            return "something"

        @describe.register
        def _(x: int):
            return "an int"

        @describe.register(list)
        def _(x):
            return [describe(item) for item in x]

        def use(x):
            return describe(x)

        print(call(use, [1, "a"]))  # ['an int', 'something']
        print(call(describe, 1))  # an int
        """,
    "async functions": """
        import asyncio

        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        async def gather(*xs):
            return await asyncio.gather(*map(double, xs))

        def main(*xs):
            return asyncio.run(gather(*xs))

        print(call(main, 1, 2))  # [2, 4]
        """,
    "an async generator": """
        import asyncio

        async def count(n):
            for i in range(n):
                yield i

        async def total(n):
            return [i async for i in count(n)]

        print(call(lambda: asyncio.run(total(3))))  # [0, 1, 2]
        """,
    "keyword-only defaults and annotations": """
        step = 3

        def advance(x: int, /, y: "float" = 1, *rest, by: int = step, **more: int):
            return x + y + by + sum(rest) + sum(more.values())

        def use():
            return advance(1), sorted(advance.__annotations__)

        print(call(advance, 1, 2, 3, by=4, other=5))  # 15
        print(call(use))  # (5, ['by', 'more', 'x', 'y'])
        """,
    "annotations that are not evaluated": """
        from __future__ import annotations

        def scale(x: Vector, by: float = 2) -> Vector:
            return Vector(x.x * by)

        class Vector:
            x: float
            def __init__(self, x: float) -> None:
                self.x = x

        print(call(scale, Vector(1)).x)  # 2
        """,
    "a match statement": """
        from dataclasses import dataclass

        @dataclass
        class Point:
            x: int
            y: int

        def where(point):
            match point:
                case Point(x=0, y=0):
                    return "origin"
                case Point(x=0) | Point(y=0):
                    return "axis"
                case [Point(), *rest]:
                    return f"a point and {len(rest)} more"
                case _:
                    return "elsewhere"

        points = [Point(0, 0), Point(0, 1), Point(1, 1)]
        print(*map(where, points), sep=", ")  # origin, axis, elsewhere
        print(*(call(where, p) for p in points), sep=", ")  # origin, axis, elsewhere
        print(call(where, points))  # a point and 2 more
        """,
    "a walrus and f-strings": """
        unit, width = "m", 6

        def shout(text):
            return text.upper()

        def describe(values):
            if (n := len(values)) > 1:
                return f"{n} {shout('values')}: {sum(values):{width}.1f} {unit!r}"

        print(call(describe, [1, 2]))  # 2 VALUES:    3.0 'm'
        """,
    "globals in comprehensions": """
        factor, limit = 2, 3

        def double(x):
            return factor * x

        def use():
            return (
                [double(x) for x in range(limit)],
                {double(x): factor for x in range(1)},
                list(double(x) for x in range(limit) if x < factor),
            )

        print(call(use))  # ([0, 2, 4], {0: 2}, [0, 2])
        """,
    "a function made by exec": """
        source = "def double(x):\\n    return factor * x"
        exec(source)
        factor = 2
        print(call(double, 21))  # 42
        """,
    "a function made by exec, in a namespace of its own": """
        namespace = {"factor": 2}
        exec("def double(x):\\n    return factor * x", namespace)
        factor = "another one"
        print(call(namespace["double"], 21))  # 42
        """,
    "a worker of multiprocessing that schedules and runs": """
        from multiprocessing import get_context

        offset = 40

        class Point:
            def __init__(self, x):
                self.x = x

        def shift(x):
            return Point(x + offset)

        def work(x):
            point = call(shift, x)
            return type(point) is Point, point

        if __name__ == "__main__":
            with get_context("spawn").Pool(1) as pool:
                right, point = pool.apply(work, [2])
            print(right, point.x, type(point) is Point)  # True 42 True
        """,
    "functions made by exec that share a namespace with what can't be pickled": """
        import threading
        import xml.dom.minidom

        namespace = {"secret": threading.local(), "xml": xml}
        exec('''
        count = 0
        def add():
            global count
            count += 1
        def get():
            return count
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        def parse(text):
            return xml.dom.minidom.parseString(text).documentElement.tagName
        ''', namespace)
        add, get, even = namespace["add"], namespace["get"], namespace["even"]
        count = 7

        def use():
            add()
            add()
            return get(), even(5), namespace["parse"]("<a/>"), count

        namespace = {"parse": namespace["parse"]}
        print(call(use), get())  # (2, False, 'a', 7) 0
        """,
    "a function made by eval": """
        factor = 2
        double = eval("lambda x: factor * x")
        print(call(double, 21))  # 42
        """,
    "a function with attributes": """
        def double(x):
            double.calls += 1
            return 2 * x, double.calls

        double.calls = 10
        print(call(double, 21))  # (42, 11)
        """,
    "a function with another name than its global": """
        def first(x):
            return second(x - 1) if x else "second"

        second = first

        def first(x):
            return "first"

        print(call(second, 1), call(first, 1))  # second first
        """,
    "functions in a dictionary and a list": """
        def add(a, b):
            return a + b

        operations = {"+": add, "-": lambda a, b: a - b}
        steps = [add, operations["-"]]

        def compute(sign, a, b):
            return operations[sign](a, b), [step(a, b) for step in steps]

        print(call(compute, "-", 3, 2))  # (1, [5, 1])
        """,
    "the deletion of a name": """
        def helper():
            return 42

        def use():
            return kept()

        kept = helper
        del helper
        print(call(use))  # 42
        """,
    "a function that comes as an argument": """
        def helper(x):
            return x + 1

        def increase(x):
            return helper(x)

        def apply(fun, values, *, then):
            return then([fun(value) for value in values])

        print(call(apply, increase, [1, 2], then=lambda x: x[::-1]))  # [3, 2]
        """,
    "a function that is returned": """
        def helper(x):
            return 2 * x

        def double(x):
            return helper(x)

        def get():
            return double

        print(call(get) is double, call(get)(21))  # True 42
        """,
    "a closure that is returned": """
        def adder(n):
            return lambda x: x + n

        print(call(adder, 2)(40))  # 42
        """,
    "functions, methods and attributes in one graph": """
        class Maker:
            def __init__(self, start):
                self.start = start
            def make(self, n):
                return [step(self.start, i) for i in range(n)]

        def step(start, i):
            return start + width * i

        width = 10
        maker = defer(Maker, 5)
        made = maker.make(3)
        total = defer(sum, [made[0], made[1], made[2], maker.start])
        print(run(total).returnvalue)  # 50
        """,
    "a closure with a variable that was never set": """
        def make(flag):
            if flag:
                extra = 1
            def get():
                return extra if flag else 0
            return get

        get = make(False)

        def use():
            return get()

        print(call(make(False)), call(use))  # 0 0
        """,
    "methods of functools": """
        from functools import cache, lru_cache, partialmethod

        class Turtle:
            def move(self, x, y):
                return x, y
            right = partialmethod(move, 1, y=0)
            @cache
            def slow(self, x):
                return 2 * x
            @staticmethod
            @lru_cache(maxsize=8)
            def triple(x):
                return 3 * x

        def use(turtle):
            return turtle.right(), turtle.slow(3), Turtle.triple(4)

        print(call(use, Turtle()))  # ((1, 0), 6, 12)
        """,
    "singledispatchmethod": """
        from functools import singledispatchmethod

        class Show:
            @singledispatchmethod
            def show(self, x):
                return "something"
            @show.register
            def _(self, x: int):
                return "an int"

        print(call(Show().show, 1), call(lambda: Show().show("a")))  # an int something
        """,
    "wrappers of functions of other modules": """
        import math
        from functools import wraps

        import beside

        def timed(fun):
            @wraps(fun)
            def wrapper(*args):
                return fun(*args), unit
            return wrapper

        unit = "s"
        root, double = timed(math.sqrt), timed(beside.double)

        def use():
            return root(4), double(1)

        print(call(use), call(double, 2))  # ((2.0, 's'), (2, 's')) (4, 's')
        """,
    "wrappers of methods": """
        from functools import wraps

        def with_bonus(method):
            @wraps(method)
            def wrapper(self, *args):
                return method(self, *args) + bonus
            return wrapper

        bonus = 1

        class Account:
            @with_bonus
            def get(self, x):
                return x
            @classmethod
            @with_bonus
            def make(cls):
                return 5

        def use():
            return Account().get(1), Account.make()

        print(call(use), call(Account().get, 1), call(Account.make))  # (2, 6) 2 6
        """,
    "partials of classes and methods": """
        from functools import partial
        from operator import attrgetter

        class Point:
            def __init__(self, x, y=1):
                self.x, self.y = x, y
            def add(self, z):
                return self.x + z

        make, get, add = partial(Point, y=5), attrgetter("x"), partial(Point(1).add, 2)

        def use():
            return make(1).y, get(Point(3)), add(), Point.add(Point(1), 2)

        print(call(use), call(make, 2).y, call(add))  # (5, 3, 3, 3) 5 3
        print(call(get, Point(4)), call(Point.add, Point(1), 1))  # 4 2
        """,
    "pools of processes in a task": """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        def double(x):
            return factor * x

        def use():
            fork = get_context("fork")
            with fork.Pool(2) as pool, ProcessPoolExecutor(1, fork) as executor:
                return pool.map(double, [1, 2]), list(executor.map(double, [3]))

        factor = 2
        print(call(use))  # ([2, 4], [6])
        """,
}

GLOBALS = {
    "a constant": """
        ANSWER = 42

        def get():
            return ANSWER

        print(call(get))  # 42
        """,
    "a global of the name of an attribute that is the name of a module": """
        import copy as duplicate

        copy = [bytes(10_000_000)]

        def use(x):
            return x.copy()

        task = run(defer(use, [1]))
        print(task.returnvalue, len(task.__definitions__[0][0]) < 10_000)  # [1] True
        """,
    "a constant that is changed before it is scheduled": """
        answer = 1

        def get():
            return answer

        answer = 42
        print(call(get))  # 42
        answer = 43
        print(call(get))  # 43
        """,
    "a global that is changed after it was scheduled": """
        answer = 42

        def get():
            return answer

        tasklist = TaskList("tasklist")
        tasklist.schedule(defer(get))
        answer = 43
        print([task.returnvalue for task in tasklist.run(nprocesses=1)])  # [42]
        """,
    "a counter that two functions share": """
        count = 0

        def increase():
            global count
            count += 1

        def increase_and_get():
            increase()
            global count
            count += 10
            increase()
            return count

        print(call(increase_and_get), count)  # 12 0
        """,
    "a counter that two tasks of a graph share": """
        count = 0

        def increase(_):
            global count
            count += 1
            return count

        print(run(defer(increase, defer(increase, None))).returnvalue)  # 2
        """,
    "a global that a function makes": """
        def make():
            global made
            made = 42

        def use():
            make()
            return made

        print(call(use), "made" in globals())  # 42 False
        """,
    "the same object under two names": """
        first = second = []

        def append():
            first.append(1)
            return second, first is second

        print(call(append))  # ([1], True)
        """,
    "an object that is both a global and an argument": """
        class Unit:
            pass

        def is_default(unit, default=None):
            return type(unit) is Unit

        print(call(is_default, Unit()))  # True
        """,
    "a name that hides a builtin": """
        def print_(x):
            return "printed " + x

        len = lambda x: "mine"

        def use(x):
            return len(x), print_(x), max(1, 2)

        print(call(use, "it"))  # ('mine', 'printed it', 2)
        """,
    "a global of 8 MB": """
        import numpy as np

        large = np.arange(1_000_000)

        def total(i):
            return int(large[:i].sum())

        print(large.nbytes, call(total, 5))  # 8000000 10
        """,
    "a global that contains itself": """
        tree = {"name": "root"}
        tree["parent"] = tree

        def climb():
            return tree["parent"]["parent"]["name"], tree["parent"] is tree

        print(call(climb))  # ('root', True)
        """,
    "a random number generator goes on where it is": """
        import random

        generator = random.Random(7)
        generator.random()

        def draw():
            return generator.random()

        drawn = call(draw)
        print(drawn == generator.random())  # True
        """,
    "a lock": """
        from threading import Lock

        lock = Lock()

        def use():
            with lock:
                return "locked" if lock.locked() else "free"

        print(call(use), lock.locked())  # locked False
        """,
    "a lock that is held arrives free": """
        from threading import Lock, RLock

        lock, rlock = Lock(), RLock()

        def use():
            return lock.acquire(timeout=5), rlock.acquire(timeout=5)

        with lock, rlock:
            print(call(use))  # (True, True)
        """,
    "an RLock arrives free": """
        from threading import RLock, Thread

        lock, got = RLock(), []

        def take():
            got.append(lock.acquire(timeout=5))

        def use():
            thread = Thread(target=take)
            thread.start()
            thread.join()
            return got

        print(call(use))  # [True]
        """,
    "a condition": """
        from threading import Condition

        condition = Condition()

        def use():
            with condition:
                condition.notify_all()
                return condition.wait(timeout=0.01)

        print(call(use))  # False
        """,
    "a semaphore": """
        from threading import Semaphore

        semaphore = Semaphore(2)

        def use():
            return [semaphore.acquire(blocking=False) for _ in range(3)]

        print(call(use))  # [True, True, False]
        """,
    "an event": """
        from threading import Event

        event, unset = Event(), Event()
        event.set()

        def use():
            return event.wait(5), unset.is_set()

        print(call(use))  # (True, False)
        """,
    "a queue": """
        from queue import Queue

        queue = Queue()
        queue.put(1)

        def use():
            queue.put(2)
            return queue.get(timeout=5), queue.get(timeout=5)

        print(call(use))  # (1, 2)
        """,
    "a lock in an object": """
        from threading import RLock

        class Account:
            def __init__(self):
                self.lock, self.balance = RLock(), 0
            def deposit(self, amount):
                with self.lock:
                    self.balance += amount
                    return self.balance

        account = Account()

        def use():
            return account.deposit(1)

        print(call(account.deposit, 2), call(use))  # 2 1
        """,
    "a logger": """
        import logging

        logging.basicConfig(level=logging.ERROR)
        log = logging.getLogger("my.script")

        def use():
            log.info("something")
            return log.name, log is logging.getLogger("my.script")

        print(call(use))  # ('my.script', True)
        """,
    "a TaskList": """
        tasklist = TaskList("other", post_clean=True)

        def use(x):
            return type(tasklist).__name__, x

        tasklist.schedule(defer(abs, -1))
        print(call(use, 2))  # ('TaskList', 2)
        print([task.returnvalue for task in tasklist.run()])  # [1]
        """,
    "a file that is open for reading": """
        from pathlib import Path

        Path("input.txt").write_text("first\\nsecond\\n")
        file = open("input.txt")

        def use():
            return file.readline()

        print(repr(call(use)))  # 'first\\n'
        file.close()
        """,
    "a file in memory": """
        import io

        buffer = io.StringIO("first+")
        buffer.seek(0, 2)

        def use():
            buffer.write("second")
            return buffer.getvalue()

        print(call(use), buffer.getvalue())  # first+second first+
        """,
    "the standard streams": """
        import sys
        from sys import stdout

        def log(text, file=sys.stderr):
            print(text, file=file)

        def use():
            log("something")
            return sys.stdout is stdout, log.__defaults__ == (sys.stderr,)

        print(call(use))  # (True, True)
        """,
    "a handler of logs": """
        import logging

        handler = logging.StreamHandler()
        adapter = logging.LoggerAdapter(logging.getLogger("my.script"), {"a": 1})

        def use():
            adapter.debug("something")
            return handler.level, adapter.extra

        print(call(use))  # (0, {'a': 1})
        """,
    "arguments of the command line": """
        import argparse

        parser = argparse.ArgumentParser()
        parser.add_argument("-n", type=int, default=3)
        args = parser.parse_args([])

        def use(*line):
            return args.n, parser.parse_args(line).n

        print(call(use, "-n", "4"))  # (3, 4)
        """,
    "containers of the standard library": """
        from collections import ChainMap, Counter, defaultdict, deque
        from types import MappingProxyType, SimpleNamespace

        default = 7
        table, count, last = defaultdict(lambda: default), Counter("abb"), deque([1], 1)
        chain, numbers = ChainMap({}, {"a": 2}), iter(range(5, 9))
        proxy, space = MappingProxyType({"a": 1}), SimpleNamespace(a=1)

        def use():
            last.append(3)
            return table["x"], count["b"], last[0], chain["a"], proxy["a"], space.a

        print(call(use), call(lambda: next(numbers)))  # (7, 2, 3, 2, 1, 1) 5
        """,
    "iterators": """
        numbers, letters = iter([1, 2, 3]), enumerate("ab")
        next(numbers)
        pairs, texts = zip([1], [2]), map(str, [1])

        def use():
            return next(numbers), next(letters), next(pairs), next(texts)

        print(call(use), next(numbers))  # (2, (0, 'a'), (1, 2), '1') 2
        """,
    "singletons and types without a name": """
        nothing, dots, kind, function = NotImplemented, ..., type(None), type(lambda: 0)

        def use():
            return nothing is NotImplemented, dots is ..., kind(), function is type(use)

        print(call(use))  # (True, True, None, True)
        """,
    "a temporary directory": """
        import os
        import tempfile

        directory = tempfile.TemporaryDirectory(dir=".")

        def use():
            return os.path.isdir(directory.name)

        print(call(use), use())  # True True
        """,
    "the file of the script": """
        from pathlib import Path

        def use():
            return Path(__file__).name, (Path(__file__).parent / "beside.py").exists()

        print(call(use))  # ('script.py', True)
        """,
    "globals that a task changes": """
        count = 1

        def change():
            global count, extra
            count, extra = 5, 6
            return get

        def get():
            return count

        print(call(change) is get, get(), "extra" in globals())  # True 1 False
        """,
}

NAMES = {
    "import": """
        import math

        def area(r):
            return round(math.pi * r ** 2, 3)

        print(call(area, 1))  # 3.142
        """,
    "import as": """
        import collections as c

        def count(text):
            return c.Counter(text).most_common(1)

        print(call(count, "abba!b"))  # [('b', 3)]
        """,
    "from import as": """
        from collections import Counter as Count, OrderedDict as Ordered

        def count(text):
            return Ordered(Count(text))["b"]

        print(call(count, "abba!b"))  # 3
        """,
    "import of everything": """
        from math import *

        def root(x):
            return sqrt(x) + floor(pi)

        print(call(root, 4))  # 5.0
        """,
    "import of runforrest's everything": """
        from runforrest import *

        def double(x):
            return 2 * x

        print(call(double, 21), evaluate(defer(double, 1)))  # 42 2
        """,
    "os.path": """
        import os.path

        def name(path):
            return os.path.basename(path)

        print(call(name, "a/b"))  # b
        """,
    "a submodule": """
        import xml.etree.ElementTree

        def tag(text):
            return xml.etree.ElementTree.fromstring(text).tag

        print(call(tag, "<a/>"))  # a
        """,
    "submodules of a module with another name": """
        import concurrent as together
        import concurrent.futures
        import xml.dom as tree
        import xml.dom.minidom

        def tag(text):
            return tree.minidom.parseString(text).documentElement.tagName

        def use(text):
            with together.futures.ThreadPoolExecutor(1) as pool:
                return pool.submit(tag, text).result()

        print(call(tag, "<a/>"), call(use, "<b/>"))  # a b
        """,
    "a submodule as a value": """
        import xml.dom

        def find():
            return xml.dom

        print(call(find).__name__)  # xml.dom
        """,
    "a submodule that is imported after a task has failed without it": """
        import wsgiref

        def name():
            return wsgiref.headers.__name__

        print(run(defer(name)).returnvalue)  # None
        import wsgiref.headers

        print(call(name))  # wsgiref.headers
        """,
    "a constant that is needed to load another global": """
        offset = 40

        class Key:
            def __init__(self, x):
                self.x = x

            def __hash__(self):
                return hash(self.x + offset)

            def __eq__(self, other):
                return self.x == other.x

        table = {Key(1): 2}

        def look():
            return table[Key(1)]

        def add(fun):
            return offset + fun()

        print(call(add, look))  # 42
        """,
    "globals that need each other": """
        def even(n):
            return n == 0 or table["odd"](n - 1)

        def odd(n):
            return n != 0 and table["even"](n - 1)

        table = {"even": even, "odd": odd}

        print(call(table["even"], 7))  # False
        """,
    "a submodule that only other functions use": """
        import email.mime.text
        import sys

        def other():
            return email.mime.text.MIMEText("text")

        def use():
            return "email.mime.text" in sys.modules

        print(call(use))  # False
        """,
    "a submodule as": """
        import xml.etree.ElementTree as ET
        from concurrent import futures

        def tag(text):
            with futures.ThreadPoolExecutor(1) as pool:
                return pool.submit(ET.fromstring, text).result().tag

        print(call(tag, "<a/>"))  # a
        """,
    "an import in a function": """
        def tag(text):
            import xml.dom.minidom

            return xml.dom.minidom.parseString(text).documentElement.tagName

        print(call(tag, "<a/>"))  # a
        """,
    "a module as an argument": """
        import math

        def root(module, x):
            return module.sqrt(x)

        print(call(root, math, 4))  # 2.0
        """,
    "numpy": """
        import numpy as np

        def norm(x):
            return float(np.linalg.norm(x))

        print(call(norm, [3, 4]))  # 5.0
        """,
    "numpy arrays": """
        import numpy as np
        from numpy import arange, float32 as single

        weights = np.array([1.0, 2.0], dtype=single)

        def weigh(x):
            return weights * x

        weighed = call(weigh, arange(2, dtype=single))
        print(weighed, weighed.dtype, weighed.flags.writeable)  # [0. 2.] float32 True
        """,
    "numpy's random generators": """
        import numpy as np

        generator = np.random.default_rng(7)

        def draw():
            return generator.random()

        print(call(draw) == generator.random())  # True
        """,
    "a subclass of a numpy array": """
        import numpy as np

        class Signal(np.ndarray):
            def power(self):
                return int((self ** 2).sum())

        def make(n):
            return np.arange(n).view(Signal)

        signal = call(make, 3)
        print(isinstance(signal, Signal), signal.power())  # True 5
        """,
    "from time import time": """
        from time import time

        def use():
            return time() > 0

        print(call(use))  # True
        """,
    "own time, os, sys and pickle": """
        def time():
            return "my time"

        os, sys, pickle = "my os", "my sys", "my pickle"

        def use():
            return time(), os, sys, pickle

        print(call(use))  # ('my time', 'my os', 'my sys', 'my pickle')
        """,
    "own main, evaluate and run_task": """
        def main(x):
            return evaluate(x) + run_task(x)

        def evaluate(x):
            return 2 * x

        def run_task(x):
            return 0.5

        print(call(main, 21))  # 42.5
        """,
    "own Task": """
        class Task:
            def __init__(self, name):
                self.name = name

        def rename(task, name):
            return Task(task.name + name)

        renamed = call(rename, Task("a"), "b")
        print(type(renamed) is Task, renamed.name)  # True ab
        """,
    "own defer and delayed": """
        from runforrest import defer as postpone

        def defer(fun):
            return "deferred " + fun.__name__

        def delayed(fun):
            return defer(fun) + " delayed"

        print(run(postpone(delayed, abs)).returnvalue)  # deferred abs delayed
        """,
    "own TaskList and runforrest": """
        import runforrest as library

        class runforrest:
            TaskList = "mine"

        def use():
            return runforrest.TaskList

        print(call(use))  # mine
        """,
    "names of the script itself": """
        def use():
            return __name__, __doc__

        print(call(use)[0])  # __main__
        """,
    "pathlib": """
        from pathlib import Path

        here = Path("a")

        def join(name):
            return here / name

        print(repr(call(join, Path("b"))))  # PosixPath('a/b')
        """,
    "datetime": """
        from datetime import date, datetime, timedelta, timezone

        start, day = datetime(2000, 2, 28, tzinfo=timezone.utc), timedelta(days=1)

        def later(days):
            return start + days * day, date(2000, 1, days)

        print(*call(later, 2))  # 2000-03-01 00:00:00+00:00 2000-01-02
        """,
    "decimals and fractions": """
        from decimal import Decimal
        from fractions import Fraction

        third, cent = Fraction(1, 3), Decimal("0.01")

        def scale(x, y):
            return third * x, cent * y

        print(*call(scale, 2, Decimal(3)))  # 2/3 0.03
        """,
    "regular expressions": """
        import re

        word = re.compile(r"b\\w+", re.IGNORECASE)

        def find(text):
            return word.findall(text)

        print(call(find, "abc Bcd"))  # ['bc', 'Bcd']
        """,
    "operators and itertools": """
        import itertools as it
        from operator import itemgetter, methodcaller

        second, upper = itemgetter(1), methodcaller("upper")
        odd = range(1, 9, 2)

        def use(text):
            return second(upper(text)), list(it.accumulate(odd))

        print(call(use, "abc"))  # ('B', [1, 4, 9, 16])
        """,
    "a module beside the script": """
        import beside

        def use(x):
            return beside.double(x)

        print(call(use, 1), call(beside.double, 2), beside.Thing().kind)  # 2 4 thing
        print(type(call(beside.Thing)) is beside.Thing)  # True
        """,
    "names of a module beside the script": """
        from beside import Thing as Base
        from beside import double as twice

        class Thing(Base):
            kind = "my " + Base.kind

        def use(x):
            return Thing().kind, twice(x)

        print(call(use, 1))  # ('my thing', 2)
        """,
    "a module whose directory was added to sys.path": """
        import sys
        from pathlib import Path

        Path("modules").mkdir()
        Path("modules", "added.py").write_text("def double(x): return 2 * x")
        sys.path.append("modules")
        import added

        print(call(added.double, 21), call(lambda x: added.double(x), 1))  # 42 2
        """,
    "an import that is optional": """
        try:
            import nothing_of_this_name as nothing
        except ImportError:
            nothing = None

        def use():
            return nothing is None

        print(call(use))  # True
        """,
    "a working directory that was changed": """
        import os

        os.mkdir("other")
        os.chdir("other")

        def use():
            return os.path.basename(os.getcwd())

        print(call(use))  # other
        """,
    "more of numpy": """
        import numpy as np

        @np.vectorize
        def double(x):
            return 2 * x

        table = np.zeros(2, np.dtype([("a", int), ("b", float)]))
        masked, mixed = np.ma.array([1, 2], mask=[0, 1]), np.array([len, "a"])

        def use():
            return double([1, 2]).tolist(), len(table["b"]), int(masked.sum()), mixed[1]

        print(call(use))  # ([2, 4], 2, 1, 'a')
        """,
}

CLASSES = {
    "a class": """
        class Point:
            def __init__(self, x):
                self.x = x
            def moved(self, by):
                return Point(self.x + by)

        def move(point):
            return point.moved(unit)

        unit = 10
        moved = call(move, Point(1))
        print(moved.x, isinstance(moved, Point), type(moved) is Point)  # 11 True True
        """,
    "a class as the function": """
        class Point:
            def __init__(self, x, *, y=0):
                self.x, self.y = x, helper(y)

        def helper(y):
            return y + 1

        point = call(Point, 1, y=2)
        print(type(point) is Point, point.x, point.y)  # True 1 3
        """,
    "bound methods": """
        class Point:
            def __init__(self, x):
                self.x = x
            def moved(self, by):
                self.x += by * unit
                return self

        unit = 10
        point = Point(1)
        print(call(point.moved, 4).x, point.x)  # 41 1
        """,
    "a bound method as a global": """
        class Register:
            def __init__(self):
                self.items = []
            def add(self, item):
                self.items.append(item)

        register = Register()
        add = register.add

        def use():
            add(1)
            return register.items

        print(call(use))  # [1]
        """,
    "inheritance and super": """
        class Animal:
            def __init__(self, name):
                self.name = name
            def describe(self):
                return self.name

        class Dog(Animal):
            def __init__(self, name):
                super().__init__(name.title())
            def describe(self):
                return "dog " + super().describe()

        class Puppy(Dog):
            def describe(self):
                return "young " + super().describe()

        def describe(name):
            return Puppy(name).describe()

        print(call(describe, "rex"))  # young dog Rex
        print(call(Puppy("rex").describe))  # young dog Rex
        """,
    "multiple inheritance": """
        class Base:
            def names(self):
                return ["Base"]

        class Left(Base):
            def names(self):
                return ["Left", *super().names()]

        class Right(Base):
            def names(self):
                return ["Right", *super().names()]

        class Both(Left, Right):
            def names(self):
                return ["Both", *super().names()]

        both = Both()
        print(call(both.names))  # ['Both', 'Left', 'Right', 'Base']
        """,
    "properties, classmethods and staticmethods": """
        class Circle:
            count = 0
            def __init__(self, r):
                self._r = r
                Circle.count += 1
            @property
            def r(self):
                return self._r
            @r.setter
            def r(self, r):
                self._r = self.checked(r)
            @classmethod
            def unit(cls):
                return cls(1)
            @staticmethod
            def checked(r):
                return abs(r)

        def grow():
            circle = Circle.unit()
            circle.r = -5
            return circle, Circle.count

        circle, count = call(grow)
        print(circle.r, count, Circle.count)  # 5 1 0
        print(call(Circle.unit).r, call(Circle.checked, -1))  # 1 1
        """,
    "cached properties": """
        from functools import cached_property

        class Data:
            @cached_property
            def large(self):
                return compute()

        def compute():
            return 42

        data = Data()
        print(run(defer(data).large).returnvalue, vars(data))  # 42 {}
        """,
    "slots": """
        class Point:
            __slots__ = ("x", "y")
            def __init__(self, x, y):
                self.x, self.y = x, y

        class Point3(Point):
            __slots__ = ("z",)

        def flip(point):
            flipped = Point3(point.y, point.x)
            flipped.z = 3
            return flipped

        point = call(flip, Point(1, 2))
        print(type(point) is Point3, point.x, point.y, point.z)  # True 2 1 3
        print(hasattr(point, "__dict__"))  # False
        """,
    "a metaclass": """
        class Registry(type):
            names = []
            def __new__(meta, name, bases, body, **options):
                cls = super().__new__(meta, name, bases, body)
                cls.tag = options.get("tag", name.lower())
                return cls
            def __len__(cls):
                return len(cls.tag)
            def __init__(cls, name, bases, body, **options):
                super().__init__(name, bases, body)

        class Base(metaclass=Registry):
            pass

        class Plugin(Base, tag="plug"):
            def get(self):
                return type(self).tag, len(Plugin), len(Base)

        def use():
            return Plugin().get()

        print(call(use), type(call(Plugin)) is Plugin)  # ('plug', 4, 4) True
        """,
    "__init_subclass__": """
        class Plugin:
            registry = {}
            def __init_subclass__(cls, /, name, **options):
                super().__init_subclass__(**options)
                Plugin.registry[name] = cls

        class Csv(Plugin, name="csv"):
            def read(self):
                return "a,b"

        def use(name):
            return Plugin.registry[name]().read()

        print(call(use, "csv"))  # a,b
        """,
    "an instance that can be called": """
        class Adder:
            def __init__(self, n):
                self.n = n
            def __call__(self, x):
                return x + self.n + offset

        offset = 100
        add = Adder(2)

        def use(x):
            return add(x)

        print(call(Adder(1), 40), call(add, 40), call(use, 40))  # 141 142 142
        """,
    "operators": """
        from functools import total_ordering

        @total_ordering
        class Vector:
            def __init__(self, *x):
                self.x = x
            def __add__(self, other):
                return Vector(*(a + b for a, b in zip(self.x, other.x)))
            __radd__ = __add__
            def __mul__(self, factor):
                return Vector(*(a * factor for a in self.x))
            def __eq__(self, other):
                return self.x == other.x
            def __lt__(self, other):
                return self.x < other.x
            def __hash__(self):
                return hash(self.x)
            def __getitem__(self, i):
                return self.x[i]
            def __repr__(self):
                return f"Vector{self.x}"

        def combine(a, b):
            return a + b * 2, max(a, b), {a: "a"}[Vector(1, 2)], b[0]

        print(call(combine, Vector(1, 2), Vector(3, 4)))
        # (Vector(7, 10), Vector(3, 4), 'a', 3)
        """,
    "instances as keys and in sets": """
        class Key:
            def __init__(self, name):
                self.name = name
            def __hash__(self):
                return salted(self.name)
            def __eq__(self, other):
                return isinstance(other, Key) and self.name == other.name

        def salted(name):
            return hash(name + "salt")

        def find(table, keys, name):
            return table[Key(name)], Key(name) in keys

        a, b = Key("a"), Key("b")
        print(call(find, {a: 1, b: 2}, {a}, "a"))  # (1, True)
        print(call(dict.fromkeys, [a])[Key("a")])  # None
        """,
    "__reduce__, __getstate__ and __setstate__": """
        class Reduced:
            def __init__(self, x):
                self.x = x
            def __reduce__(self):
                return make, (self.x + 1,)

        class Stateful:
            def __getstate__(self):
                return {"x": 1}
            def __setstate__(self, state):
                self.x = state["x"] + offset

        def make(x):
            return Reduced(x)

        def use(a, b):
            return a.x, b.x

        offset = 10
        print(call(use, Reduced(1), Stateful()))  # (2, 11)
        """,
    "iterators, containers and context managers": """
        class Countdown:
            def __init__(self, n):
                self.n = n
            def __iter__(self):
                return self
            def __next__(self):
                if self.n == 0:
                    raise StopIteration
                self.n -= 1
                return self.n
            def __enter__(self):
                return self
            def __exit__(self, *error):
                self.n = 0
                return True

        def use(countdown):
            with countdown as c:
                first = next(c)
                raise ValueError
            return first, list(countdown)

        countdown = Countdown(3)
        print(list(call(iter, Countdown(3))), call(use, countdown))  # [2, 1, 0] (2, [])
        """,
    "descriptors": """
        class Positive:
            def __set_name__(self, owner, name):
                self.name = "_" + name
            def __get__(self, instance, owner):
                return getattr(instance, self.name)
            def __set__(self, instance, value):
                setattr(instance, self.name, checked(value))

        class Order:
            amount = Positive()

        def checked(value):
            return max(value, 0)

        def order(amount):
            made = Order()
            made.amount = amount
            return made

        print(call(order, -1).amount, call(order, 2).amount)  # 0 2
        """,
    "a comprehension and a nested class in a class": """
        class Table:
            size = 3
            squares = [i ** 2 for i in range(3)]
            class Row:
                class Cell:
                    value = 42
            def row(self):
                return self.Row(), Table.Row.Cell()

        def use():
            return Table.squares, Table().row()

        squares, (row, cell) = call(use)
        print(squares, type(row) is Table.Row, cell.value)  # [0, 1, 4] True 42
        print(type(cell) is Table.Row.Cell)  # True
        print(type(call(Table.Row.Cell)) is Table.Row.Cell)  # True
        """,
    "a class in a function": """
        def make(n):
            class Local:
                def get(self):
                    return n + constant
            return Local

        constant = 40
        Local = make(2)
        print(call(Local().get))  # 42
        print(call(lambda: make(3)().get()))  # 43
        print(call(make, 4)().get())  # 44
        """,
    "a class that uses itself and super in a function": """
        def make():
            class Node:
                def __init__(self, *children):
                    self.children = children
                def count(self):
                    return 1 + sum(child.count() for child in self.children)
                @classmethod
                def pair(cls):
                    return cls(Node(), Node())
            class Root(Node):
                def count(self):
                    return 100 + super().count()
            return Root

        print(call(make().pair().count))  # 103
        """,
    "a class made by type": """
        def get(self):
            return self.x

        Made = type("Made", (), {"x": 42, "get": get})
        made = call(Made)
        print(type(made) is Made, call(made.get))  # True 42
        """,
    "a class attribute that was changed": """
        class Settings:
            verbose = False

        def get():
            return Settings.verbose, Settings.added()

        Settings.verbose = True
        Settings.added = staticmethod(lambda: "added")
        print(call(get))  # (True, 'added')
        """,
    "a subclass of a builtin": """
        class Names(list):
            def joined(self):
                return "-".join(self)

        class Count(dict):
            def __missing__(self, key):
                return default

        class Meters(float):
            def __repr__(self):
                return f"{float(self)} m"

        default = 7

        def use(names, count):
            return names.joined(), count["b"], Meters(2), Names("ab")

        used = call(use, Names("xy"), Count(a=1))
        print(used, type(used[-1]) is Names)  # ('x-y', 7, 2.0 m, ['a', 'b']) True
        """,
    "a singleton": """
        class Singleton:
            instance = None
            def __new__(cls):
                if cls.instance is None:
                    cls.instance = super().__new__(cls)
                return cls.instance

        def use():
            return Singleton() is Singleton(), single is Singleton()

        single = Singleton()
        print(call(use))  # (True, True)
        """,
    "a sentinel": """
        MISSING = object()

        def get(x=MISSING):
            return "missing" if x is MISSING else x

        def use():
            return get(), get(1)

        print(call(use))  # ('missing', 1)
        print(call(get))  # missing
        """,
    "a sentinel that is pickled by its name": """
        class Sentinel:
            def __reduce__(self):
                return "MISSING"

        MISSING = Sentinel()

        def get(x=None):
            return "missing" if x is MISSING else x

        def use():
            return MISSING

        print(call(get, MISSING), call(use) is MISSING)  # missing True
        """,
    "an instance and its class as arguments and globals": """
        class Unit:
            pass

        unit = Unit()

        def check(given, kind):
            return type(given) is kind, kind is Unit, type(unit) is kind

        print(call(check, Unit(), Unit))  # (True, True, True)
        """,
    "a class that is returned": """
        class Point:
            pass

        def get():
            return Point

        print(call(get) is Point)  # True
        """,
    "tuples of functions and classes": """
        class Point:
            pass

        def double(x):
            return 2 * x

        def swap(pair):
            fun, cls = pair
            return cls, fun, cls(), fun(1)

        cls, fun, point, two = call(swap, (double, Point))
        print(cls is Point, fun is double, type(point) is Point)  # True True True
        print(two)  # 2
        """,
    "instances nested in a result": """
        class Point:
            def __init__(self, x):
                self.x = x

        def make(n):
            return {"points": [Point(i) for i in range(n)], "by": {(1, 2): Point(9)}}

        made = call(make, 2)
        print([type(p) is Point for p in made["points"]])  # [True, True]
        print(isinstance(made["by"][1, 2], Point), made["by"][1, 2].x)  # True 9
        """,
    "a graph of instances": """
        class Node:
            def __init__(self, name):
                self.name, self.links = name, []

        def link(a, b):
            a.links.append(b)
            b.links.append(a)
            return a

        node = call(link, Node("a"), Node("b"))
        print(node.links[0].links[0] is node, node.links[0].name)  # True b
        """,
    "weak references and finalizers": """
        import weakref

        class Thing:
            def __del__(self):
                log.append("gone")

        log = []

        def use():
            thing = Thing()
            reference = weakref.ref(thing)
            del thing
            return reference(), log

        print(call(use))  # (None, ['gone'])
        """,
    "__init_subclass__ with a required argument": """
        class Plugin:
            names = []
            def __init_subclass__(cls, /, name):
                Plugin.names.append(name)
                cls.name = name

        class Csv(Plugin, name="csv"):
            pass

        def use():
            return Csv.name, Csv().names

        print(call(use))  # ('csv', ['csv'])
        """,
    "__init_subclass__ that registers": """
        class Plugin:
            def __init_subclass__(cls):
                registry.append(cls.__name__)

        registry = []

        class Csv(Plugin):
            pass

        def use():
            return registry, Csv.__name__

        print(call(use))  # (['Csv'], 'Csv')
        """,
    "a decorator that registers classes": """
        registry = {}

        def register(cls):
            registry[cls.__name__] = cls
            return cls

        @register
        class Csv:
            def read(self):
                return "a,b"

        def use(name):
            return registry[name]().read(), registry["Csv"] is Csv

        print(call(use, "Csv"))  # ('a,b', True)
        """,
    "a class with instances of itself": """
        class Color:
            def __init__(self, name):
                self.name = name

        Color.RED = Color("red")
        Color.ALL = [Color.RED, Color("blue")]

        def use(color):
            return type(color) is Color, Color.ALL[0] is Color.RED, Color.ALL[1].name

        print(call(use, Color.RED))  # (True, True, 'blue')
        """,
    "a class that was defined again": """
        class Point:
            x = 1

        old = Point()

        class Point:
            x = 2

        def use(point):
            return point.x, Point().x, old.x

        print(call(use, old))  # (1, 2, 1)
        """,
    "a class and a function hidden by what they made": """
        class config:
            x = 1

        def data():
            return [config.x]

        get, config = data, config()
        data = data()

        def use():
            return config.x, data, get()

        print(call(use), call(get), call(lambda c: c.x, config))  # (1, [1], [1]) [1] 1
        """,
    "the arguments of the script": """
        import sys

        sys.argv.append("--verbose")

        def use():
            return sys.argv

        print(call(use) == sys.argv)  # True
        """,
    "a file of bytes that is open for reading": """
        script = open(__file__, "rb")

        def use(file):
            return script.readline() == file.readline()

        print(call(use, open(__file__, "rb")), script.readline()[:4])  # True b'from'
        """,
    "exceptions whose attributes are made of their arguments": """
        def use():
            try:
                b"\\xff".decode()
            except UnicodeDecodeError as error:
                return error, SystemExit(3), StopIteration(4)

        error, end, stop = call(use)
        print(error.start, end.code, stop.value)  # 0 3 4
        print(str(error)[:19])  # 'utf-8' codec can't
        """,
    "an exception that says how to pickle it": """
        class Failure(Exception):
            def __init__(self, code):
                self.code, self.file = code, (n for n in "ab")

            def __reduce__(self):
                return Failure, (self.code,)

        def use():
            raise Failure(42)

        error = run(defer(use)).errorvalue
        print(type(error) is Failure, error.code)  # True 42
        """,
    "errors of numpy": """
        import numpy as np

        def fail():
            np.zeros(2).sum(axis=3)

        print(run(defer(fail)).errorvalue.axis)  # 3
        """,
    "an exception with slots that are empty": """
        class Failure(Exception):
            __slots__ = ("code", "reason", "later")

            def __init__(self, code, reason):
                self.code, self.reason = code, reason

        def use():
            raise Failure(0, "")

        error = run(defer(use)).errorvalue
        print(error.code, [error.reason], hasattr(error, "later"))  # 0 [''] False
        """,
    "a class in a function that uses a global": """
        LENGTH = 3

        def use():
            class Local:
                length = LENGTH

            return Local.length

        print(call(use))  # 3
        """,
    "private names and documented slots": """
        class Point:
            __slots__ = {"__x": "private", "y": "public", "__weakref__": ""}
            def __init__(self):
                self.__x = 1
                self.y = self.__next()
            def __next(self):
                return self.__x + 1

        class Holder:
            __slots__ = "held"

        def use(point):
            holder = Holder()
            holder.held = Point(), point
            return holder

        print([point.y for point in call(use, Point()).held])  # [2, 2]
        """,
    "properties of functions, and special methods": """
        def get_x(self):
            return self._x

        def set_x(self, x):
            self._x = scale * x

        class Point:
            x = property(get_x, set_x)
            __call__ = lambda self: self.x
            def __getattr__(self, name):
                if name.startswith("_"):
                    raise AttributeError(name)
                return "no " + name
            def __class_getitem__(cls, key):
                return key

        def use():
            point = Point()
            point.x = 2
            return point(), point.z, Point[3]

        scale = 2
        print(call(use))  # (4, 'no z', 3)
        """,
    "a class with a logger and locks": """
        import logging
        import threading

        class Worker:
            log = logging.getLogger(__name__)
            lock, rlock = threading.Lock(), threading.RLock()
            def work(self):
                with self.lock, Worker.rlock:
                    self.log.debug("working")
                    return Worker.log.name

        print(call(Worker().work))  # __main__
        """,
    "a class with weak references to its instances": """
        import weakref

        class Thing:
            things = weakref.WeakSet()
            def __init__(self):
                Thing.things.add(self)

        first = Thing()

        def use():
            second = Thing()
            return first in Thing.things, second in Thing.things

        print(call(use))  # (True, True)
        """,
    "a class of a function, its instance and its exception": """
        def make():
            class Local:
                pass
            class LocalError(Exception):
                pass
            return Local, LocalError

        Local, LocalError = make()

        def use(local):
            try:
                raise LocalError("wrong")
            except LocalError as error:
                return isinstance(local, Local), str(error)

        print(call(use, Local()))  # (True, 'wrong')
        """,
    "a sentinel as an argument": """
        MISSING = object()

        def get(x):
            return "missing" if x is MISSING else x

        print(call(get, MISSING))  # missing
        """,
    "pickles and copies in a task": """
        import copy
        import pickle

        class Point:
            pass

        def use():
            point = copy.deepcopy(pickle.loads(pickle.dumps(Point())))
            return type(point) is Point, pickle.loads(pickle.dumps(use)) is use

        print(call(use))  # (True, True)
        """,
    "a result that is the next task's argument": """
        class Point:
            def __init__(self, x):
                self.x = x

        def step(point):
            return Point(point.x + 1)

        print(call(step, call(step, Point(0))).x)  # 2
        """,
    "metadata": """
        class Point:
            x = 42

        tasklist = TaskList("tasklist")
        tasklist.schedule(defer(abs, -1), metadata={"at": Point()})
        [task] = tasklist.run(nprocesses=1)
        point = task.metadata["at"]
        print(type(point) is Point, point.x, task.returnvalue)  # True 42 1
        """,
    "an instance of a class of a function, as a result": """
        class Point:
            pass

        def make():
            class Local(Point):
                def __init__(self):
                    self.point = Point()
            return Local()

        made = call(make)
        print(isinstance(made, Point), type(made.point) is Point)  # True True
        """,
    "a metaclass that registers": """
        class Meta(type):
            def __init__(cls, name, bases, body):
                super().__init__(name, bases, body)
                registry.append(name)

        registry = []

        class Csv(metaclass=Meta):
            pass

        def use():
            return registry, Csv.__name__

        print(call(use))  # (['Csv'], 'Csv')
        """,
    "instances as keys of a global": """
        from dataclasses import dataclass
        from enum import Enum

        class Color(Enum):
            RED = 1

        @dataclass(frozen=True)
        class Point:
            x: int

        table = {Color.RED: "red", Point(1): "point"}

        def use():
            return table[Color.RED], table[Point(1)]

        print(call(use))  # ('red', 'point')
        """,
    "instances as keys of a global, with a hash that needs another": """
        class Key:
            def __init__(self, name):
                self.name = name
            def __hash__(self):
                return salted(self.name)
            def __eq__(self, other):
                return self.name == other.name

        def salted(name):
            return hash(name + "salt")

        table = {Key("a"): 1}

        def use(name):
            return table[Key(name)]

        print(call(use, "a"))  # 1
        """,
    "__setstate__ of a global that needs another": """
        class Stateful:
            def __getstate__(self):
                return {"x": 1}
            def __setstate__(self, state):
                self.x = shifted(state["x"])

        stateful = Stateful()

        def use():
            return stateful.x

        def shifted(x):
            return x + offset

        offset = 10
        print(call(use))  # 11
        """,
}

TYPES = {
    "a dataclass": """
        from dataclasses import dataclass

        @dataclass
        class Point:
            x: float
            y: float = 0.5

        def flip(point):
            return Point(point.y, point.x)

        print(call(flip, Point(1)) == Point(0.5, 1), call(Point, 2))
        # True Point(x=2, y=0.5)
        """,
    "a frozen dataclass": """
        from dataclasses import FrozenInstanceError, dataclass, replace

        @dataclass(frozen=True, order=True)
        class Point:
            x: int
            y: int

        def move(point):
            try:
                point.x = 5
            except FrozenInstanceError:
                return replace(point, x=point.x + 1)

        moved = call(move, Point(1, 2))
        print(moved, hash(moved) == hash(Point(2, 2)), moved > Point(1, 9))
        # Point(x=2, y=2) True True
        """,
    "a dataclass with slots": """
        from dataclasses import dataclass

        @dataclass(slots=True, kw_only=True)
        class Point:
            x: int
            y: int = 2

        def flip(point):
            return Point(x=point.y, y=point.x)

        print(call(flip, Point(x=1)))  # Point(x=2, y=1)
        """,
    "a dataclass that is frozen and has slots": """
        from dataclasses import dataclass

        @dataclass(frozen=True, slots=True)
        class Point:
            x: int

        def use(point):
            return Point(point.x + 1)

        print(call(use, Point(1)))  # Point(x=2)
        """,
    "a dataclass with a default factory and __post_init__": """
        from dataclasses import asdict, dataclass, field

        @dataclass
        class Bag:
            items: list = field(default_factory=lambda: [first])
            size: int = field(init=False, repr=False)
            def __post_init__(self):
                self.size = measure(self.items)

        def measure(items):
            return len(items)

        first = "a"

        def make():
            return Bag(), asdict(Bag([1, 2]))

        print(call(make))  # (Bag(items=['a']), {'items': [1, 2], 'size': 2})
        """,
    "nested and inherited dataclasses": """
        from dataclasses import dataclass, field

        @dataclass
        class Point:
            x: int

        @dataclass
        class Named(Point):
            name: str = "no name"

        @dataclass
        class Line:
            start: Point
            end: Named = field(default_factory=lambda: Named(7))

        def flip(line):
            return Line(line.end, line.start)

        print(call(flip, Line(Point(1))))
        # Line(start=Named(x=7, name='no name'), end=Point(x=1))
        """,
    "an Enum": """
        from enum import Enum

        class Color(Enum):
            RED = 1
            GREEN = "g"
            CRIMSON = 1

        def other(color):
            return Color.GREEN if color is Color.RED else Color("g")

        print(call(other, Color.RED) is Color.GREEN, call(list, Color))
        # True [<Color.RED: 1>, <Color.GREEN: 'g'>]
        """,
    "an Enum with methods and values of its own": """
        from enum import Enum

        class Planet(Enum):
            EARTH = (5.97, 6.37)
            MARS = (0.64, 3.39)
            def __init__(self, mass, radius):
                self.mass, self.radius = mass, radius
            @property
            def gravity(self):
                return round(G * self.mass / self.radius ** 2, 1)
            @classmethod
            def heaviest(cls):
                return max(cls, key=lambda planet: planet.mass)

        G = 66.7

        def use(planet):
            return planet.gravity, Planet.heaviest(), Planet.MARS.radius

        print(call(use, Planet.EARTH))  # (9.8, <Planet.EARTH: (5.97, 6.37)>, 3.39)
        """,
    "an IntEnum and a StrEnum": """
        from enum import IntEnum, StrEnum, auto

        class Level(IntEnum):
            LOW = auto()
            HIGH = auto()

        class Mode(StrEnum):
            READ = auto()

        def use(level):
            return level + 1, Level(level + 1), "mode " + Mode.READ

        two, level, text = call(use, Level.LOW)
        print(two, level is Level.HIGH, text)  # 2 True mode read
        """,
    "a Flag": """
        from enum import Flag, IntFlag, auto

        class Right(Flag):
            READ = auto()
            WRITE = auto()
            ALL = READ | WRITE

        class Bits(IntFlag):
            A = 1
            B = 2

        def grant(right):
            return right | Right.WRITE, Right.READ in right, Bits.A | Bits.B

        right, has, bits = call(grant, Right.READ)
        print(right is Right.ALL, has, bits == 3, type(bits) is Bits)
        # True True True True
        """,
    "an Enum with auto values": """
        from enum import Enum, auto, unique

        @unique
        class Step(Enum):
            def _generate_next_value_(name, start, count, last_values):
                return name.lower()
            FIRST = auto()
            SECOND = auto()

        def use():
            return [step.value for step in Step]

        print(call(use))  # ['first', 'second']
        print(call(Step, "second") is Step.SECOND)  # True
        """,
    "a NamedTuple": """
        from typing import NamedTuple

        class Point(NamedTuple):
            x: int
            y: int = 0
            def swapped(self):
                return Point(self.y, self.x)
            @property
            def total(self):
                return sum(self)

        def swap(point):
            return point.swapped()

        point = call(swap, Point(1))
        print(point, point.total, type(point) is Point)  # Point(x=0, y=1) 1 True
        """,
    "a namedtuple": """
        from collections import namedtuple

        Point = namedtuple("Point", "x y", defaults=[5])

        def swap(point):
            return Point(point.y, point.x)._replace(x=6)

        print(call(swap, Point(1)), call(Point, 1).y)  # Point(x=6, y=1) 5
        """,
    "a TypedDict": """
        from typing import TypedDict

        class Movie(TypedDict, total=False):
            name: str
            year: int

        def age(movie: Movie) -> Movie:
            return Movie(name=movie["name"], year=movie["year"] + 1)

        print(call(age, Movie(name="a", year=1)))  # {'name': 'a', 'year': 2}
        """,
    "classes made by attrs": """
        import threading

        import attrs

        secret = threading.local()

        @attrs.define(order=True)
        class Point:
            x: int
            tags: list = attrs.field(factory=list, hash=False)

        @attrs.frozen
        class Named(Point):
            name: str = "a"

        @attrs.define(slots=False)
        class Open:
            x: int = attrs.field(converter=int, default=1)

        def use(named):
            return Point(2) < Point(3), attrs.evolve(named, x=7), Open("5"), {named: 1}

        ordered, named, other, table = call(use, Named(1, name="b"))
        print(ordered, named, other)  # True Named(x=7, tags=[], name='b') Open(x=5)
        print(isinstance(named, Named), other == Open(5))  # True True
        """,
    "a Protocol": """
        from typing import Protocol, runtime_checkable

        @runtime_checkable
        class Named(Protocol):
            def name(self) -> str: ...

        class Dog:
            def name(self):
                return "dog"

        def check(thing):
            return isinstance(thing, Named), isinstance(1, Named)

        print(call(check, Dog()))  # (True, False)
        """,
    "a Generic class": """
        from typing import Generic, TypeVar

        T = TypeVar("T")
        K = TypeVar("K", int, str)

        class Box(Generic[T]):
            def __init__(self, item: T) -> None:
                self.item = item
            def get(self) -> T:
                return self.item

        class IntBox(Box[int]):
            pass

        def rebox(box: Box[K]) -> Box[K]:
            return Box[int](box.get())

        print(call(rebox, IntBox(42)).get(), call(IntBox, 1).get())  # 42 1
        """,
    "an abstract class": """
        from abc import ABC, abstractmethod

        class Shape(ABC):
            @abstractmethod
            def area(self): ...
            def double(self):
                return 2 * self.area()

        class Square(Shape):
            def __init__(self, a):
                self.a = a
            def area(self):
                return self.a ** 2

        def use(shape):
            try:
                Shape()
            except TypeError:
                return isinstance(shape, Shape), shape.double()

        print(call(use, Square(3)), call(Square, 2).area())  # (True, 18) 4
        """,
    "a collection": """
        from collections.abc import Mapping, Sequence

        class Row(Sequence):
            def __init__(self, *items):
                self.items = items
            def __getitem__(self, i):
                return self.items[i]
            def __len__(self):
                return len(self.items)

        def use(row):
            return list(reversed(row)), 2 in row, isinstance(row, Mapping)

        print(call(use, Row(1, 2)))  # ([2, 1], True, False)
        print(type(call(Row)) is Row)  # True
        """,
    "a class registered with an abstract class": """
        from abc import ABC

        class Shape(ABC):
            pass

        @Shape.register
        class Blob:
            pass

        def check(thing):
            return isinstance(thing, Shape), isinstance(1, Shape)

        print(call(check, Blob()))  # (True, False)
        """,
    "type aliases": """
        from typing import Optional, Union

        Number = Union[int, float]
        Values = list[Number] | None

        def total(values: Values, start: Optional[Number] = 0) -> Number:
            return sum(values, start)

        def hints():
            return Number.__args__, isinstance(1, int | str)

        print(call(total, [1, 2]), call(hints))
        # 3 ((<class 'int'>, <class 'float'>), True)
        """,
    "a dataclass that a task extends": """
        from dataclasses import KW_ONLY, InitVar, dataclass, field, fields
        from typing import ClassVar

        @dataclass
        class Base:
            x: int
            y: list = field(default_factory=list, metadata={"unit": "m"})
            kind: ClassVar[str] = "base"
            z: InitVar[int] = 4
            _: KW_ONLY
            last: int = 5
            def __post_init__(self, z):
                self.doubled = 2 * z

        def use():
            @dataclass
            class Extended(Base):
                more: int = 2
            return [field.name for field in fields(Extended)], Extended(1).doubled

        print(call(use))  # (['x', 'y', 'last', 'more'], 8)
        """,
    "an Enum that is not found by its name": """
        import enum

        def make():
            class Mode(enum.Enum):
                FAST = 1
                SLOW = FAST, 2

            return Mode

        Kind, Colour = make(), enum.Enum("Color", "RED GREEN")

        def use(*members):
            return [member.name for member in members], Colour(2).name, *members

        names, name, mode, colour = call(use, Kind.FAST, Colour.GREEN)
        print(names, name, mode.value, colour.value)  # ['FAST', 'GREEN'] GREEN 1 2
        """,
    "Enums of types that say how to pickle them": """
        import datetime
        import decimal
        import enum

        class Fee(decimal.Decimal, enum.Enum):
            LOW = "1.5"

        class Day(datetime.date, enum.Enum):
            FIRST = 2026, 1, 1

        def use(day=Day.FIRST):
            return Fee.LOW + 1, day is Day.FIRST, Day.FIRST.year, Fee.LOW

        cost, same, year, fee = call(use)
        print(cost, same, year, fee is Fee.LOW)  # 2.5 True 2026 True
        """,
    "members of an Enum of another module": """
        from http import HTTPStatus
        from signal import SIGTERM

        good = [HTTPStatus.OK]

        def use(status=HTTPStatus.OK):
            return good[0] is HTTPStatus.OK is status, SIGTERM

        print(call(use) == (True, SIGTERM))  # True
        """,
    "an Enum that looks for values, with private methods": """
        from enum import Enum

        class Color(Enum):
            RED = 1
            @classmethod
            def _missing_(cls, value):
                return cls.RED if value == "red" else None
            def _describe(self):
                return "color " + self.name
            def __str__(self):
                return self._describe()

        def use():
            return Color("red") is Color.RED, f"{Color.RED}"

        print(call(use))  # (True, 'color RED')
        """,
    "an Enum that makes its members": """
        from enum import Enum

        class Coordinate(bytes, Enum):
            def __new__(cls, value, label):
                made = bytes.__new__(cls, [value])
                made._value_ = value
                made.label = label
                return made
            PX = (0, "P.X")
            PY = (1, "P.Y")

        def use():
            member = Coordinate(1)
            return member is Coordinate.PY, member.label, len(member)

        print(call(use))  # (True, 'P.Y', 1)
        """,
    "an Enum that numbers its members": """
        from enum import Enum

        class Level(Enum):
            def __new__(cls, *args):
                made = object.__new__(cls)
                made._value_ = len(cls.__members__) + 1
                return made
            def __init__(self, weight):
                self.weight = weight
            LOW = 10
            HIGH = 20

        def use():
            return Level(2) is Level.HIGH, Level.HIGH.weight

        print(call(use))  # (True, 20)
        """,
    "an Enum of dataclasses": """
        from dataclasses import dataclass
        from enum import Enum

        @dataclass(frozen=True)
        class Animal:
            legs: int

        class Pet(Animal, Enum):
            DOG = 4
            BIRD = 2

        def use():
            return Pet.DOG.legs, [pet.name for pet in Pet if pet.legs == 2]

        print(call(use))  # (4, ['BIRD'])
        """,
    "a subclass of a namedtuple": """
        from collections import namedtuple

        class Point(namedtuple("Point", "x y")):
            __slots__ = ()
            def __new__(cls, x, y=5):
                return super().__new__(cls, x, y)
            def total(self):
                return self.x + self.y

        def use(point):
            return Point(point.total())

        point = call(use, Point(1))
        print(point, type(point) is Point)  # Point(x=6, y=5) True
        """,
    "a NewType": """
        from typing import NewType

        UserId = NewType("UserId", int)

        def use(user: UserId) -> UserId:
            return UserId(user + 1)

        print(call(use, UserId(1)), call(UserId, 3))  # 2 3
        """,
    "type variables": """
        from typing import Annotated, Callable, Literal, ParamSpec, TypeVar

        P, R = ParamSpec("P"), TypeVar("R", covariant=True)

        def use(mode: Literal["r"], fun: Annotated[Callable[P, R], "any"] = None) -> R:
            return mode, P.__name__, R.__name__

        print(call(use, "r"))  # ('r', 'P', 'R')
        """,
    "generic abstract classes and protocols": """
        from abc import ABC, abstractmethod
        from dataclasses import dataclass
        from typing import Generic, Protocol, TypeVar

        T = TypeVar("T")

        class Repository(ABC, Generic[T]):
            @property
            @abstractmethod
            def kind(self): ...
            @abstractmethod
            def get(self) -> T: ...

        @dataclass
        class Box(Repository[int]):
            x: int
            kind = "box"
            def get(self):
                return self.x

        class Gives(Protocol[T]):
            def get(self) -> T: ...

        class Giver(Gives[int]):
            def get(self):
                return 3

        def use(box: Repository[T]):
            return box.get(), Giver().get(), Box(2), len(Repository.__abstractmethods__)

        print(call(use, Box(1)))  # (1, 3, Box(x=2), 2)
        """,
    "types that functions make": """
        from enum import Enum
        from typing import NamedTuple

        Color = Enum("Color", "RED GREEN")
        Point = NamedTuple("Point", [("x", int)])

        def use(color, point):
            return color is Color.RED, point == Point(1), type(point) is Point

        print(call(use, Color.RED, Point(1)))  # (True, True, True)
        """,
    "a namedtuple with another name than its global": """
        from collections import namedtuple

        Point = namedtuple("Pair", "x y")

        def use(point):
            return isinstance(point, Point), point.x

        print(call(use, Point(1, 2)))  # (True, 1)
        """,
    "an Enum in a dataclass": """
        from dataclasses import dataclass, field
        from enum import Enum

        class Mode(Enum):
            FAST = "fast"

        @dataclass
        class Config:
            mode: Mode = Mode.FAST
            parts: dict[str, "Config"] = field(default_factory=dict)

        def use(config):
            return config.mode is Mode.FAST, Config(parts={"a": config})

        same, config = call(use, Config())
        print(same, config == Config(parts={"a": Config()}))  # True True
        """,
}

EXCEPTIONS = {
    "an exception": """
        class MyError(Exception):
            pass

        def fail(x):
            raise MyError("wrong", x)

        task = run(defer(fail, 1))
        print(isinstance(task.errorvalue, MyError), task.errorvalue.args)
        # True ('wrong', 1)
        try:
            raise task.errorvalue
        except MyError as error:
            print("caught", error)  # caught ('wrong', 1)
        """,
    "a hierarchy of exceptions": """
        class AppError(Exception):
            pass

        class DataError(AppError, ValueError):
            code = 7

        def fail():
            raise DataError("broken")

        try:
            call(fail)
        except AppError as error:
            print(type(error) is DataError, isinstance(error, ValueError), error.code)
            # True True 7
        """,
    "an exception with two required arguments": """
        class MyError(Exception):
            def __init__(self, code, text):
                super().__init__(text)
                self.code = code
            def __str__(self):
                return f"{self.code}: {super().__str__()}"

        def fail():
            raise MyError(404, "not found")

        try:
            call(fail)
        except MyError as error:
            print(error, error.code)  # 404: not found 404
        """,
    "an exception with keyword arguments only": """
        class MyError(Exception):
            def __init__(self, *, code):
                self.code = code

        def fail():
            raise MyError(code=7)

        error = run(defer(fail)).errorvalue
        print(type(error) is MyError, error.code)  # True 7
        """,
    "an exception that is a dataclass": """
        from dataclasses import dataclass

        @dataclass
        class MyError(Exception):
            code: int
            text: str = "text"

        def fail():
            raise MyError(7)

        error = run(defer(fail)).errorvalue
        print(type(error) is MyError, error == MyError(7))  # True True
        """,
    "an exception with a cause": """
        class MyError(Exception):
            pass

        def fail():
            try:
                {}["key"]
            except KeyError as error:
                raise MyError("no such thing") from error

        task = run(defer(fail))
        notes = "".join(task.errorvalue.__notes__)
        print(type(task.errorvalue) is MyError, "KeyError: 'key'" in notes)  # True True
        """,
    "a group of exceptions": """
        class MyError(Exception):
            pass

        def fail():
            raise ExceptionGroup("several", [MyError(1), ValueError(2)])

        try:
            call(fail)
        except* MyError as group:
            print(group.exceptions)  # (MyError(1),)
        except* ValueError as group:
            print(group.exceptions)  # (ValueError(2),)
        """,
    "an exception that a task catches": """
        class MyError(Exception):
            pass

        def fail():
            raise MyError("wrong")

        def catch():
            try:
                fail()
            except MyError as error:
                return error

        error = call(catch)
        print(isinstance(error, MyError), error.args)  # True ('wrong',)
        """,
    "an exception as an argument": """
        class MyError(Exception):
            def __init__(self, a, b):
                super().__init__(a)
                self.b = b

        def describe(error, kind):
            return isinstance(error, kind), kind is MyError, error.args, error.b

        print(call(describe, MyError(1, 2), MyError))  # (True, True, (1,), 2)
        """,
    "an exception that holds an instance": """
        class Point:
            def __init__(self, x):
                self.x = x

        class MyError(Exception):
            pass

        def fail():
            raise MyError(Point(42))

        try:
            call(fail)
        except MyError as error:
            [point] = error.args
            print(type(point) is Point, point.x)  # True 42
        """,
    "a failed assertion and its traceback": """
        limit = 3

        def check(x):
            assert x < limit, f"{x} is too much"

        error = run(defer(check, 5)).errorvalue
        print(repr(error))  # AssertionError('5 is too much')
        print("in check" in "".join(error.__notes__))  # True
        """,
    "a warning": """
        import warnings

        class MyWarning(UserWarning):
            pass

        def warn():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                warnings.warn("careful", MyWarning)
            return caught[0].category is MyWarning, caught[0].message

        same, message = call(warn)
        print(same, type(message) is MyWarning)  # True True
        """,
    "an exception of a class that has no name in the script": """
        def make():
            class LocalError(Exception):
                pass
            return LocalError

        fail_with = make()

        def fail():
            raise fail_with("wrong")

        error = run(defer(fail)).errorvalue
        print(type(error).__name__, error)  # LocalError wrong
        """,
    "a subclass of OSError": """
        class NotThere(OSError):
            pass

        def fail():
            raise NotThere(2, "not there", "name")

        error = run(defer(fail)).errorvalue
        print(type(error) is NotThere, error)  # True [Errno 2] not there: 'name'
        """,
    "errors of the network": """
        from http.client import RemoteDisconnected

        class ApiError(OSError):
            def __init__(self, code, text):
                super().__init__(f"{code}: {text}")
                self.code = code

        def fail(code):
            raise ApiError(code, "no") if code else RemoteDisconnected("gone")

        print(repr(run(defer(fail, 0)).errorvalue))  # RemoteDisconnected('gone')
        error = run(defer(fail, 404)).errorvalue
        print(repr(error), error.code)  # ApiError('404: no') 404
        """,
    "a subclass of OSError with an __init__": """
        class NotThere(OSError):
            def __init__(self, name):
                super().__init__(2, "not there", name)

        def fail():
            raise NotThere("name")

        error = run(defer(fail)).errorvalue
        print(type(error) is NotThere, error)  # True [Errno 2] not there: 'name'
        print(error.errno, error.filename)  # 2 name
        """,
    "a group of exceptions with an attribute": """
        class Several(ExceptionGroup):
            def __new__(cls, errors, code):
                made = super().__new__(cls, "several", errors)
                made.code = code
                return made
            def derive(self, errors):
                return Several(errors, self.code)

        def fail():
            raise Several([KeyError(1)], 7)

        error = run(defer(fail)).errorvalue
        print(type(error) is Several, error.exceptions, error.code)
        # True (KeyError(1),) 7
        """,
}

NEWER = {  # than Python 3.11
    "a type alias": """
        type Pair[T] = tuple[T, T]

        def swap(pair: Pair[int]) -> Pair[int]:
            return pair[1], pair[0]

        def use():
            return Pair.__name__

        print(call(swap, (1, 2)), call(use))  # (2, 1) Pair
        """,
    "a type alias that refers to itself": """
        type Json = dict[str, Json] | list[Json] | str

        def keys(data: Json) -> list[str]:
            return list(data)

        print(call(keys, {"a": "b"}))  # ['a']
        """,
    "nested quotes in f-strings and an override": """
        from typing import override

        class Base:
            def get(self):
                return "base"

        class Derived(Base):
            @override
            def get(self):
                return f"{", ".join(f"{name!r}" for name in names)}"

        names = ["a", "b"]
        print(call(Derived().get))  # 'a', 'b'
        """,
}

NEWEST = {
    "annotations that nobody evaluates": """
        from dataclasses import dataclass
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from nowhere import Missing

        @dataclass
        class Node:
            value: Missing
            next: Node | None = None
            def last(self) -> Missing:
                return self.next.last() if self.next else self.value

        def use(node: Node, other: Missing = None):
            return node.last(), Node(2), use.__annotations__, Node.__annotations__

        last, node, *annotations = call(use, Node(1, Node(3)))
        print(last, isinstance(node, Node))  # 3 True
        print(annotations)  # [{}, {}]
        """,
    "annotations that are evaluated late": """
        def before(node: Node) -> Node:
            return before.__annotations__, Tree.__annotations__, node

        class Tree:
            node: Node
            def get(self) -> Node:
                return self.node

        class Node:
            tree: Tree

        of_function, of_class, node = call(before, Node())
        print(of_function == {"node": Node, "return": Node})  # True
        print(of_class == {"node": Node}, isinstance(node, Node))  # True True
        print(call(lambda tree: isinstance(tree, Tree), Tree()))  # True
        """,
}

GROUPS = [FUNCTIONS, GLOBALS, NAMES, CLASSES, TYPES, EXCEPTIONS]
if sys.version_info >= (3, 12):
    GROUPS.append(NEWER)
if sys.version_info >= (3, 14):
    GROUPS.append(NEWEST)
SCRIPTS = {name: source for group in GROUPS for name, source in group.items()}

# With save_session=True; what is found through its text is sent only then.
SESSIONS = {
    "a function that is found in globals()": """
        def hidden():
            return 42

        def find():
            return globals()["hidden"]()

        print(repr(run(defer(find)).errorvalue))  # KeyError('hidden')
        print(run(defer(find), save_session=True).returnvalue)  # 42
        """,
    "a function that is found by eval": """
        def hidden(x):
            return 2 * x

        def find(text):
            return eval(text)

        error = run(defer(find, "hidden(21)")).errorvalue
        print(type(error), error)  # <class 'NameError'> name 'hidden' is not defined
        print(run(defer(find, "hidden(21)"), save_session=True).returnvalue)  # 42
        """,
    "an attribute of the script as a module": """
        import sys

        hidden = 42

        def find():
            return sys.modules["__main__"].hidden

        print(type(run(defer(find)).errorvalue))  # <class 'AttributeError'>
        print(run(defer(find), save_session=True).returnvalue)  # 42
        """,
    "the values of the session are those of the run": """
        constant = 1

        def get():
            return constant

        tasklist = TaskList("tasklist")
        tasklist.schedule(defer(get))
        constant = 2
        run = tasklist.run(nprocesses=1, save_session=True)
        print([task.returnvalue for task in run])  # [2]
        """,
    "classes, enums, closures and locks": """
        from dataclasses import dataclass
        from enum import Enum
        from threading import RLock

        class Color(Enum):
            RED = 1

        @dataclass
        class Point:
            color: Color = Color.RED

        def adder(n):
            return lambda x: x + n

        add, lock = adder(2), RLock()

        def use(point):
            with lock:
                return point == Point(), point.color is Color.RED, add(40), Point()

        *same, point = run(defer(use, Point()), save_session=True).returnvalue
        print(same, type(point) is Point)  # [True, True, 42] True
        """,
    "exceptions": """
        class MyError(Exception):
            def __init__(self, a, b):
                super().__init__(a)

        def fail():
            raise globals()["MyError"](1, 2)

        try:
            raise run(defer(fail), save_session=True).errorvalue
        except MyError as error:
            print(error)  # 1
        """,
    "what cannot be sent is left out": """
        import sqlite3
        import sys
        from concurrent.futures import ThreadPoolExecutor

        generator, connection = (x for x in [1]), sqlite3.connect(":memory:")
        pool, file = ThreadPoolExecutor(1), open("output.txt", "w")
        frame = sys._getframe()
        print("text", file=file, flush=True)

        def hidden():
            return 42

        def find():
            return globals()["hidden"]()

        print(run(defer(find), save_session=True).returnvalue)  # 42
        print(open("output.txt").read().strip())  # text
        """,
    "own main, evaluate, Task, time and os": """
        def main():
            return evaluate("x")

        def evaluate(x):
            return "my " + x

        class Task:
            pass

        os, time, sys, args = "my os", "my time", "my sys", "my args"

        def use():
            return main(), type(eval("Task()")) is Task, os, time, sys, args

        task = run(defer(use), save_session=True)
        print(task.returnvalue)
        # ('my x', True, 'my os', 'my time', 'my sys', 'my args')
        """,
}

# Each has a global `thing`, a word that says why it stays behind, and its user.
OUT_OF_REACH = {
    "a generator": """
        def count():
            yield 1

        thing = count()  # generator

        def use():
            return next(thing)
        """,
    "a coroutine": """
        import asyncio

        async def wait():
            return 1

        thing = wait()  # coroutine

        def use():
            return asyncio.run(thing)
        """,
    "a database connection": """
        import sqlite3

        thing = sqlite3.connect(":memory:")  # sqlite3

        def use():
            return thing.execute("select 1").fetchall()
        """,
    "a pool of processes": """
        from multiprocessing import get_context

        thing = get_context("fork").Pool(1)  # pool

        def use():
            return thing.map(abs, [-1])
        """,
    "a pool of threads": """
        from concurrent.futures import ThreadPoolExecutor

        thing = ThreadPoolExecutor(1)  # queue

        def use():
            return thing.submit(abs, -1).result()
        """,
    "a thread-local": """
        import threading

        thing = threading.local()  # local
        thing.x = 1

        def use():
            return thing.x
        """,
    "a file that is open for writing": """
        thing = open("output.txt", "w")  # writing
        print("text", file=thing, flush=True)

        def use():
            thing.write("more")
        """,
    "a file that is open for appending": """
        thing = open("output.txt", "ab", buffering=0)  # writing
        thing.write(b"text\\n")

        def use():
            thing.write(b"more")
        """,
    "a file that is open for reading and writing": """
        thing = open("output.txt", "w+")  # writing
        print("text", file=thing, flush=True)

        def use():
            thing.write("more")
        """,
    "a socket": """
        import socket

        thing = socket.socket()  # socket

        def use():
            return thing.fileno()
        """,
    "a module that is not imported by its name": """
        import importlib.util

        open("json.py", "w").write("N = 42")
        spec = importlib.util.spec_from_file_location("json", "json.py")
        thing = importlib.util.module_from_spec(spec)  # by its name
        spec.loader.exec_module(thing)

        def use():
            return thing.N
        """,
    "a context variable": """
        from contextvars import ContextVar

        thing = ContextVar("thing", default=1)  # ContextVar

        def use():
            return thing.get()
        """,
    "a lock between processes": """
        from multiprocessing import Lock

        thing = Lock()  # inheritance

        def use():
            with thing:
                return 1
        """,
}


# The README lists these, and what to do: put the class into a module of its own.
LIMITS = {
    "__init_subclass__ that registers",
    "__init_subclass__ with a required argument",
    "a class of a function, its instance and its exception",
    "a class registered with an abstract class",
    "a namedtuple with another name than its global",
    "a sentinel as an argument",
    "a sentinel that is pickled by its name",
    "a type alias that refers to itself",
}


def table(scripts):
    """Parametrise a test with the names of scripts, and how many there are."""
    size, limit = len(scripts), pytest.mark.xfail(reason="a known limit", strict=True)
    return pytest.mark.parametrize(
        "source",
        [
            pytest.param(
                dedent(source),
                id=f"{i} of {size}: {name}",
                marks=[limit] if name in LIMITS else [],
            )
            for i, (name, source) in enumerate(scripts.items(), 1)
        ],
    )


def program(source):
    """A script with what all of them need, which comes second if it must."""
    head, future, body = source.rpartition("from __future__ import annotations\n")
    return head + future + PRELUDE + body


def expected(source):
    comments = re.findall("# (.*)", source)
    assert comments, "the script has no comment that says what it shall print"
    return comments


BESIDE = """
import functools

def double(x):
    return 2 * x

class Thing:
    kind = 'thing'

def counted(fun):
    @functools.wraps(fun)
    def wrapper(*args):
        wrapper.calls += 1
        return fun(*args)
    wrapper.calls = 0
    return wrapper
"""


@pytest.fixture
def elsewhere(tmp_path, script):
    """A directory to run scripts in, which are in another one beside a module."""
    script.write(BESIDE, name="scripts/beside.py")
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    return directory


@table(SCRIPTS)
def test_script_needs_no_session(source, script, elsewhere):
    printed = script.run(program(source), name="scripts/script.py", cwd=elsewhere)
    assert printed.splitlines() == expected(source)


def test_no_script_hides_another_one_of_its_name():
    assert len(SCRIPTS) == sum(map(len, GROUPS))
    assert len(SCRIPTS) > 150


@table(SESSIONS)
def test_script_with_its_session(source, script, elsewhere):
    printed = script.run(program(source), name="scripts/script.py", cwd=elsewhere)
    assert printed.splitlines() == expected(source)


# What cannot be sent ------------------------------------------------------------------


@table(OUT_OF_REACH)
def test_script_is_told_what_did_not_come_along_and_why(source, script, elsewhere):
    [why] = expected(source)
    source += dedent("""
        error = run(defer(use)).errorvalue
        print(error, *error.__notes__, sep="\\n")
        """)
    printed = script.run(program(source), name="scripts/script.py", cwd=elsewhere)
    assert [line for line in printed.splitlines() if "thing" in line and why in line]


def test_script_may_have_what_only_other_functions_use(script, elsewhere):
    """With all that is out of reach in one script, which none of it may harm."""
    sources = [dedent(source) for source in OUT_OF_REACH.values()]
    things = [f"thing{i}" for i in range(len(sources))]
    source = "".join(
        source.replace("thing", thing).replace("output.txt", f"{thing}.txt")
        for source, thing in zip(sources, things, strict=True)
    )
    source += dedent("""
        def harmless(x):
            return helper(x)

        def helper(x):
            return 2 * x

        print(call(harmless, 21))
        """)
    printed = script.run(program(source), name="scripts/script.py", cwd=elsewhere)
    assert printed == "42\n"
    written = [path.read_text() for path in elsewhere.glob("*.txt")]
    assert written == ["text\n"] * 3


# Other ways to run a script -----------------------------------------------------------

ORDINARY = (
    PRELUDE
    + """\
class Point:
    def __init__(self, x):
        self.x = x


def helper(x):
    return Point(x + offset)


def use(x):
    return helper(x)


offset = 40
point = call(use, 2)
print(point.x, isinstance(point, Point))
"""
)


@pytest.fixture
def python(elsewhere, monkeypatch):
    """Run Python elsewhere, and return what it printed."""
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("IPYTHONDIR", str(elsewhere / "ipython"))

    def run(*args, stdin="", cwd=elsewhere):
        done = subprocess.run(
            [sys.executable, *args],
            input=stdin,
            cwd=cwd,
            text=True,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_script_with_a_guard(python, script):
    body, last = ORDINARY.split("point =")
    lines = ("point =" + last).splitlines()
    guarded = 'if __name__ == "__main__":\n' + "".join(f"    {li}\n" for li in lines)
    assert python(script.write(body + guarded)) == "42 True\n"


def test_script_with_a_main_function(python, script):
    body, last = ORDINARY.split("point =")
    lines = ("point =" + last).splitlines()
    source = body + "def main():\n" + "".join(f"    {line}\n" for line in lines)
    source += '\n\nif __name__ == "__main__":\n    main()\n'
    assert python(script.write(source)) == "42 True\n"


def test_script_with_spaces_and_unicode_in_its_name(python, script):
    path = script.write(ORDINARY, name="my scripts/größe \n 'µ'.py")
    assert python(path) == "42 True\n"


def test_script_whose_name_does_not_end_in_py(python, script):
    assert python(script.write(ORDINARY, name="script")) == "42 True\n"


def test_script_from_standard_input(python):
    assert python("-", stdin=ORDINARY) == "42 True\n"


def test_script_on_the_command_line(python):
    assert python("-c", ORDINARY) == "42 True\n"


def test_script_without_its_directory_on_the_path(python, script):
    assert python("-P", script.write(ORDINARY)) == "42 True\n"


def test_lines_that_are_typed_at_the_prompt(python):
    assert python("-i", "-q", stdin=ORDINARY) == "42 True\n"


def test_prompt_after_a_script(python, script):
    path = script.write(ORDINARY)
    typed = "offset = 0\n\nprint(call(use, 2).x)\n"
    assert python("-i", path, stdin=typed) == "42 True\n2\n"


def test_module_of_a_package(python, script, tmp_path):
    """Relative imports work, also those that a function makes."""
    script.write("", name="package/__init__.py")
    script.write("def double(x): return 2 * x", name="package/beside.py")
    source = """
        from . import beside
        from .beside import double

        def use(x):
            from .beside import double as twice

            return double(x), beside.double(x), twice(x)

        print(call(use, 21), call(double, 1))
        """
    script.write(PRELUDE + dedent(source), name="package/script.py")
    assert python("-m", "package.script", cwd=tmp_path) == "(42, 42, 42) 2\n"


def test_module_of_a_package_where_only_a_function_imports(python, script, tmp_path):
    script.write("", name="package/__init__.py")
    script.write("def double(x): return 2 * x", name="package/beside.py")
    source = """
        def use(x):
            from . import beside

            return beside.double(x)

        print(call(use, 21))
        """
    script.write(PRELUDE + dedent(source), name="package/script.py")
    assert python("-m", "package.script", cwd=tmp_path) == "42\n"


def test_package_with_a_main_module(python, script, tmp_path):
    script.write("offset = 20", name="package/__init__.py")
    source = ORDINARY.replace("offset = 40", "from . import offset\noffset *= 2")
    script.write(source, name="package/__main__.py")
    assert python("-m", "package", cwd=tmp_path) == "42 True\n"


def test_directory_with_a_main_module(python, script, tmp_path):
    script.write("offset = 40", name="app/beside.py")
    source = ORDINARY.replace("offset = 40", "from beside import offset")
    script.write(source, name="app/__main__.py")
    assert python(tmp_path / "app") == "42 True\n"


def test_zip_file_with_a_main_module(python, script, tmp_path):
    script.write("def add(x): return x + 40", name="app/beside.py")
    source = ORDINARY.replace("x + offset", "beside.add(x)")
    source = source.replace("offset = 40", "import beside")
    script.write(source, name="app/__main__.py")
    zipapp.create_archive(tmp_path / "app")
    assert python(tmp_path / "app.pyz") == "42 True\n"


def test_script_that_runpy_runs(python, script):
    path = str(script.write(ORDINARY))
    command = f"import runpy; runpy.run_path({path!r}, run_name='__main__')"
    assert python("-c", command) == "42 True\n"


def test_script_in_the_debugger(python, script):
    path = script.write(ORDINARY)
    assert "42 True" in python("-m", "pdb", "-c", "continue", "-c", "quit", path)


def test_script_in_the_profiler(python, script):
    """Whose classes are not those of `__main__`, as this is the profiler."""
    path = script.write(ORDINARY)
    assert python("-m", "cProfile", path).startswith("42 ")


def test_a_task_does_not_load_dill_for_what_a_script_usually_defines(script):
    output = script.run("""
import enum, functools, sys
from runforrest import TaskList, defer

class Color(enum.Enum):
    RED = 1

class Point:
    def __init__(self, x):
        self.x = x

@functools.cache
def double(x):
    return 2 * x

def work(point):
    return Color(double(point.x) - 1), "dill" in sys.modules

tasklist = TaskList("tasklist")
tasklist.schedule(defer(work, Point(1)))
for task in tasklist.run():
    print(*task.returnvalue)
""")
    assert output == "Color.RED False\n"


def test_tests_of_pytest(python, script):
    source = (
        PRELUDE
        + """\
def helper(x):
    return x + 1


def test_helper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(helper, 1) == 2
    assert call(lambda x: helper(x), 1) == 2
"""
    )
    path = script.write(source, name="scripts/test_own.py")
    assert "1 passed" in python("-m", "pytest", "-p", "no:cacheprovider", path)


def test_doctest_of_a_script(python, script):
    source = (
        PRELUDE
        + """\
def double(x):
    '''Double it.

    >>> call(double, 21)
    42
    '''
    return 2 * x


import doctest

print(doctest.testmod())
"""
    )
    assert python(script.write(source)) == "TestResults(failed=0, attempted=1)\n"


# Notebooks ----------------------------------------------------------------------------


def test_ipython_with_a_command(python):
    printed = python("-m", "IPython", "--simple-prompt", "-c", ORDINARY)
    assert printed == "42 True\n"


def test_ipython_with_a_script(python, script):
    path = script.write("%precision 3\n" + ORDINARY, name="scripts/script.ipy")
    assert "42 True" in python("-m", "IPython", "--simple-prompt", path).splitlines()


def test_a_script_that_was_run_by_ipython(python, script):
    """It can be used after that, as IPython has copied its globals."""
    unused = "import sqlite3\nunused = sqlite3.connect(':memory:')\n"
    path = script.write(ORDINARY + unused)
    lines = "\n".join([f"%run {path}", *ORDINARY.splitlines()[-2:]])
    path = script.write(lines, name="scripts/notebook.ipy")
    printed = python("-m", "IPython", "--simple-prompt", path)
    assert printed.splitlines().count("42 True") == 2


def test_cells_of_a_notebook(python, script):
    """A function that is defined again in a later cell is used from then on."""
    cells = [
        PRELUDE,
        "import numpy as np\nimport enum",
        "class Kind(enum.Enum):\n    A = 1",
        "def helper(x):\n    return np.add(x, 1)",
        "def use(x):\n    return int(helper(x)), Kind.A",
        "result = call(use, 1); print(result == (2, Kind.A))",
        "def helper(x):\n    return np.add(x, 10)",
        "result = call(use, 1); print(result == (11, Kind.A))",
        "%time answer = run(defer(lambda: eval('use')(2)), save_session=True)",
        "print(answer.returnvalue == (12, Kind.A))",
    ]
    source = f"""
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True).raise_error()
"""
    printed = python(script.write(source)).splitlines()
    assert [line for line in printed if line in ("True", "False")] == ["True"] * 3
