"""The driver's list of the net's threads: a number that is used again is another thread."""

from __future__ import annotations

from importlib import resources

import pytest

from nn512.toolchain import Compiler, build, find_compilers, run_bounded

PROGRAM = """
#define _GNU_SOURCE
#include "nn512_driver.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_join(pthread_t, void **);
int __wrap_pthread_detach(pthread_t);

void heap_aside(int aside) { (void)aside; }
unsigned mode_get(void) { return 0; }

static void say(const char *format, va_list arguments) { vprintf(format, arguments), putchar('\\n'); }

void report_violation(const char *kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format), (void)kind;
    say(format, arguments);
    va_end(arguments);
}

void report_fatal(const char *kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format), (void)kind;
    say(format, arguments);
    exit(1);
}

static void *nothing(void *argument) { return argument; }

static pthread_t start(void) {
    pthread_t thread;
    if (__wrap_pthread_create(&thread, NULL, nothing, NULL)) report_fatal("test", "no thread");
    return thread;
}

static int again;
static pthread_t first, second;

int __real_pthread_create(pthread_t *to, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument) {
    return pthread_create(to, attributes, routine, argument);
}

/* The moment a thread has been joined, before anything else is done, another engine starts one and joins it. */
int __real_pthread_join(pthread_t thread, void **result) {
    const int status = pthread_join(thread, result);
    if (again) {
        again = 0;
        first = thread;
        second = start();
        __wrap_pthread_join(second, NULL);
    }
    return status;
}

int __real_pthread_detach(pthread_t thread) { return pthread_detach(thread); }
int __real_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a) { return pthread_mutex_init(m, a); }
int __real_pthread_mutex_destroy(pthread_mutex_t *m) { return pthread_mutex_destroy(m); }
int __real_pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *a) { return pthread_cond_init(c, a); }
int __real_pthread_cond_destroy(pthread_cond_t *c) { return pthread_cond_destroy(c); }
int __real_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) { return pthread_cond_wait(c, m); }

int main(void) {
    MAIN
    workers_check_ended("the end");
    return 0;
}
"""

ENDS = """
    again = 1;
    __wrap_pthread_join(start(), NULL);
    puts(pthread_equal(first, second) ? "used again" : "other numbers");
"""


@pytest.fixture(params=find_compilers(), ids=lambda compiler: compiler.kind.value)
def compiler(request: pytest.FixtureRequest) -> Compiler:
    found: Compiler = request.param
    return found


def said(compiler: Compiler, main: str) -> list[str]:
    driver = resources.files("fuzz.run") / "driver"
    files = {name: (driver / name).read_text("utf-8") for name in ("nn512_driver.h", "workers.c")}
    files["program.c"] = PROGRAM.replace("MAIN", main)
    built = build(compiler, files, ["-std=gnu11", "-O1", "-pthread", "workers.c", "program.c"], "program")
    return run_bounded([str(built.path)], timeout=60)[1].splitlines()


def test_a_number_may_be_used_again_as_soon_as_a_thread_is_joined(compiler: Compiler) -> None:
    found = said(compiler, ENDS)
    if found == ["other numbers"]:
        pytest.skip("this system does not use numbers of threads again at once")
    assert found == ["used again"]


def test_a_thread_that_nobody_joins_is_told(compiler: Compiler) -> None:
    (found,) = said(compiler, "start();")
    assert found in ("the end leaves 1 threads running", "the end leaves 1 threads that ended and were not joined")


def test_a_thread_is_joined_once(compiler: Compiler) -> None:
    found = said(
        compiler, "const pthread_t one = start(); __wrap_pthread_join(one, NULL); __wrap_pthread_join(one, NULL);"
    )
    assert found == ["pthread_join of a thread that was not created, or was joined before"]


def test_a_detached_thread_cannot_be_joined(compiler: Compiler) -> None:
    found = said(compiler, "const pthread_t one = start(); __wrap_pthread_detach(one); __wrap_pthread_join(one, NULL);")
    assert found == ["pthread_join of a thread that was not created, or was joined before"]
