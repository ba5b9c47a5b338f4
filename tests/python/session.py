"""Runs Feast commands and scripts, each in a process of its own that has Feast imported already.

Importing Feast takes three seconds of processor time, its commands a fraction of one. So this
process imports it once and forks for each request: a line of JSON in, a line of JSON out. A child
shares nothing with the next one, exactly as if each had been started by hand.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

# What the commands would import on their own; the fork inherits it.
import dask.dataframe  # noqa: F401
import feast.infra.compute_engines.local.compute  # noqa: F401
import feast.infra.offline_stores.dask  # noqa: F401
import feast.infra.online_stores.redis  # noqa: F401
import feast.infra.online_stores.sqlite  # noqa: F401
import feast.infra.registry.sql  # noqa: F401
import feast.repo_operations  # noqa: F401
import psycopg  # noqa: F401
import pyarrow.dataset  # noqa: F401
import pyarrow.parquet  # noqa: F401
import redis  # noqa: F401
from feast.cli.cli import cli


def run(program, arguments):
    """Becomes the program and gives its exit code."""
    sys.argv = [program, *arguments]
    try:
        if program == "feast":
            cli()
        else:
            runpy.run_path(program, run_name="__main__")
        return 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def child(request, out, err):
    """Never returns."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.chdir(request["directory"])
        os.environ.update(request["environment"])
        code = run(request["program"], request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def answer(request):
    """Runs one request to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            child(request, out, err)
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "stdout": texts[0], "stderr": texts[1]}


def main():
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


main()
