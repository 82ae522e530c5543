"""Python with the gaps that it has on Windows, for the modules of this package.

Python imports this file when it starts, if its folder is on PYTHONPATH; so worker processes are
emulated, too. Modules of `latte_cli` get `os`, `signal`, `sys` and `ctypes` as they are on Windows,
and no modules of Unix; libraries keep the real ones, except that for all of them files that are
open cannot be replaced, moved or deleted, and `/proc` and `decord` are not there.
"""

import builtins
import ctypes
import errno
import fcntl
import os
import pathlib
import signal
import sys
import types
import warnings
from pathlib import Path

NO_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios"}
GONE = {
    "os": {
        *("chown", "chroot", "confstr", "fchmod", "fchown", "fork", "forkpty", "getegid"),
        *("geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority"),
        *("getsid", "getuid", "initgroups", "killpg", "lchown", "mkfifo", "mknod", "nice"),
        *("openpty", "pathconf", "posix_fadvise", "posix_fallocate", "posix_spawn", "pread"),
        *("preadv", "pwrite", "sched_getaffinity", "sched_setaffinity", "sched_yield", "sendfile"),
        *("setpgid", "setpriority", "setsid", "setuid", "statvfs", "sync", "sysconf", "uname"),
        *("wait", "wait3", "wait4", "waitid", "WNOHANG", "O_CLOEXEC", "O_DIRECTORY", "O_DIRECT"),
        *("O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_TMPFILE", "SEEK_HOLE", "register_at_fork"),
    },
    "signal": {
        *("SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGIO", "SIGKILL", "SIGPIPE"),
        *("SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIG_BLOCK"),
        *("SIG_SETMASK", "SIG_UNBLOCK", "alarm", "getitimer", "pause", "pthread_kill"),
        *("pthread_sigmask", "setitimer", "siginterrupt", "sigpending", "sigtimedwait", "sigwait"),
    },
    "sys": {"setdlopenflags", "getdlopenflags", "abiflags"},
    "ctypes": set(),
}
ALIVE, NOT_ENDED, ACCESS_DENIED = 4242, 0x102, 5
TOTAL = 8 << 30


class Function:
    """A function of a library, to which types can be assigned."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *args):
        return self.call(*args)


def process_exists(pid):
    return os.path.exists(f"/proc/{pid}")


def fill(structure, **values):
    for name, value in values.items():
        setattr(structure._obj, name, value)
    return 1


class Kernel32:
    """The functions that are called here, answered by Linux."""

    def __init__(self, name, use_last_error=False):
        assert name == "kernel32"
        self.OpenProcess = Function(lambda _, __, pid: pid if process_exists(pid) else None)
        self.WaitForSingleObject = Function(lambda pid, _: NOT_ENDED if process_exists(pid) else 0)
        self.CloseHandle = Function(lambda handle: 1)
        self.GetCurrentProcess = Function(lambda: -1)
        self.GlobalMemoryStatusEx = Function(
            lambda status: fill(status, total=TOTAL, available=TOTAL // 2)
        )
        self.K32GetProcessMemoryInfo = Function(
            lambda _, counters, __: fill(counters, peak=2 << 30, held=1 << 30)
        )


def no_kill(pid, number):
    raise AssertionError(f"os.kill({pid}, {number}) sends Ctrl-C or ends the process on Windows")


def handle_signal(number, handler):
    if number not in {2, 4, 6, 8, 11, 15}:
        raise ValueError("invalid signal value")
    return signal.signal(number, handler)


def flush(descriptor):
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    return os.fsync(descriptor)


GIVEN = {
    "os": {"name": "nt", "kill": no_kill, "fsync": flush},
    "signal": {"signal": handle_signal},
    "sys": {"platform": "win32"},
    "ctypes": {"WinDLL": Kernel32, "get_last_error": lambda: 87},
}


REAL = {}


class Emulated(types.ModuleType):
    """A module with some names missing and others replaced."""

    def __init__(self, real):
        super().__init__(real.__name__)
        REAL[id(self)] = real

    def __getattribute__(self, name):
        real = REAL[id(self)]
        module = real.__name__
        if name in GONE[module]:
            raise AttributeError(f"module {module!r} has no attribute {name!r} on Windows")
        return GIVEN[module][name] if name in GIVEN[module] else getattr(real, name)

    def __setattr__(self, name, value):
        setattr(REAL[id(self)], name, value)


EMULATED = {module.__name__: Emulated(module) for module in (os, signal, sys, ctypes)}
real_import = builtins.__import__


def emulated_import(name, globals=None, locals=None, fromlist=(), level=0):
    """`import` as on Windows, if a module of this package asks for it."""
    if name.partition(".")[0] == "decord":
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = real_import(name, globals, locals, fromlist, level)
    if level or not str((globals or {}).get("__name__")).startswith("latte_cli"):
        return module
    top = name.partition(".")[0]
    if top in NO_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return EMULATED.get(name, module) if fromlist else EMULATED.get(top, module)


def held_files():
    """Paths of this process's open and mapped files."""
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
    with open("/proc/self/maps", encoding="utf-8") as maps:
        yield from (line.split(maxsplit=5)[5].strip() for line in maps if line.count("/"))


def unless_held(function):
    """The function, which fails if one of its paths is open, or holds an open file."""

    def call(*paths, **options):
        for path in paths:
            found = os.path.realpath(os.fspath(path))
            held = [file for file in held_files() if file == found or file.startswith(found + "/")]
            if held and options.get("dir_fd") is None:
                raise PermissionError(errno.EACCES, "is open (WinError 32)", str(path))
        return function(*paths, **options)

    return call


def outside_of_proc(function):
    """The method of a path, which does not find files of Linux's own."""

    def call(self, *args, **options):
        if str(self).startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        return function(self, *args, **options)

    return call


builtins.__import__ = emulated_import
for name in ("replace", "rename", "unlink", "remove"):
    setattr(os, name, unless_held(getattr(os, name)))
for name in ("open", "read_text", "read_bytes", "write_text"):
    setattr(Path, name, outside_of_proc(getattr(Path, name)))
assert pathlib.os is os
if sys.flags.warn_default_encoding:  # Windows' default is not UTF-8
    warnings.filterwarnings("error", category=EncodingWarning, module="latte_cli")
