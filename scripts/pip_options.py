"""Print where pip is configured to look for packages, one `option<TAB>value` a line.

`scripts/setup` hands these to uv, which does not read pip's configuration. Relies on `pip config
list` alone, so files and environment variables are merged the way pip merges them: the environment
(`:env:`) is printed first by pip and wins for options that hold one value. Writes nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys

SINGLE = ("cert", "index-url")
MANY = ("extra-index-url", "find-links", "trusted-host")


def main() -> None:
    """Read pip's configuration and print the options that decide where packages come from."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, str] = {}
    # Ascending precedence: every command, then `pip install`, then the environment.
    for scope in ("global.", "install.", ":env:."):
        for line in listing.splitlines():
            key, _, quoted = line.partition("=")
            option = key.removeprefix(scope)
            if key.startswith(scope) and option in SINGLE + MANY:
                found[option] = ast.literal_eval(quoted)
    for option, value in found.items():
        for item in [value] if option in SINGLE else value.split():
            print(f"{option}\t{item}")


if __name__ == "__main__":
    main()
