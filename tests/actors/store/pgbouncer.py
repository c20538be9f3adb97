"""PgBouncer in transaction mode in front of the tests' PostgreSQL, as people run it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.actors.store.postgresql import run_as

PORT = 6432
SETTINGS = """
[databases]
* = host={server} user=tests
[pgbouncer]
listen_port = {port}
listen_addr =
unix_socket_dir = {home}
pool_mode = transaction
default_pool_size = 4
auth_type = {auth}
auth_file = {home}/users
logfile = {home}/log
"""


@contextmanager
def pgbouncer(server: str, *, auth: str = "any") -> Iterator[str]:
    """A pooler in front of the server whose socket is in `server`; the directory of its socket."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    home = Path(tempfile.mkdtemp(prefix="fpb", dir="/tmp"))
    try:
        user = run_as(home)
        settings = home / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(server=server, home=home, port=PORT, auth=auth))
        (home / "users").write_text('"tests" "right"\n')
        process = subprocess.Popen([program, "-q", str(settings)], **user)
        try:
            deadline = time.monotonic() + 20
            while not (home / f".s.PGSQL.{PORT}").exists():
                assert process.poll() is None, "the pooler ended"
                assert time.monotonic() < deadline, "the pooler does not answer"
                time.sleep(0.02)
            yield str(home)
        finally:
            process.terminate()
            process.wait(20)
    finally:
        shutil.rmtree(home, ignore_errors=True)
