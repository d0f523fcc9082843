"""Fork a process for each program that a line of the standard input describes, and print its exit code.

Only packages of others are imported before the fork. unpairaug is imported in the new process, as it is by a user.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import runpy
import signal
import sys
import threading
import traceback
from importlib import import_module
from typing import Any

PACKAGES = [
    "accelerate",
    "albumentations",
    "filelock",
    "jinja2",
    "pydantic",
    "rich.progress",
    "safetensors.torch",
    "scipy.ndimage",
    "skimage.metrics",
    "timm.optim",
    "torch",
    "torch.utils.tensorboard",
    "typer",
]


def main() -> None:
    # The answers keep the pipe; whatever else this process prints while it imports goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for package in PACKAGES:
        import_module(package)
    gc.freeze()  # a collection in a new process would copy them
    for line in sys.stdin:
        wanted = json.loads(line)
        process = os.fork()
        if not process:
            break
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    else:
        return
    become(wanted)
    code = run(wanted["module"])
    os._exit(code)  # to free all that was imported would copy it first


def run(module: str) -> int:
    """Run the module as Python does, and return the exit code that Python would end with."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code: Any = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def become(wanted: dict[str, Any]) -> None:
    """Give this process the folder, the environment, the output and the limit that the program shall have."""
    for number, path in ((0, os.devnull), (1, wanted["out"]), (2, wanted["errors"])):
        opened = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    signal.alarm(wanted["seconds"])  # it ends the program
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    added = wanted["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [wanted["cwd"], *added, *sys.path[1:]]
    sys.argv = [wanted["module"], *wanted["words"]]
    if wanted["max_kib"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * wanted["max_kib"],) * 2)


if __name__ == "__main__":
    main()
