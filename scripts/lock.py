"""Write the hashes of every pinned release into the locks: `scripts/lock.py [WHEEL...]`.

A pin stays as it is; change it in the lock, then run this. The hashes are those that the plain
package index has for the files that fit (Python 3.11 on x86-64 Linux) and for the source. The CPU
build of torch (`+cpu`) is not there: name its wheel when its version changes, else its
hash stays. Run it with .venv's Python, which has uv.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

LOCKS = ("requirements.lock", "requirements-dev.lock", "k8s/requirements.lock")
PIN = re.compile(r"([A-Za-z0-9_.-]+)==(\S+)(.*)")


def main() -> None:
    """Rewrite all three locks."""
    wheels = [Path(wheel).read_bytes() for wheel in sys.argv[1:]]
    given = {f"sha256:{hashlib.sha256(wheel).hexdigest()}" for wheel in wheels}
    for lock in LOCKS:
        lines = Path(lock).read_text(encoding="utf-8").splitlines()
        hashes = _hashes(lock)
        written = []
        for line in lines:
            if (pin := PIN.fullmatch(line)) is None:
                written.append(line)
                continue
            name, version, before = pin.groups()
            found = hashes.get(_plain(name)) or given or set(re.findall(r"--hash=(\S+)", before))
            options = "".join(f" --hash={value}" for value in sorted(found))
            written.append(f"{name}=={version}{options}")
        Path(lock).write_text("\n".join(written) + "\n", encoding="utf-8")


def _hashes(lock: str) -> dict[str, set[str]]:
    pins = [
        f"{pin[1]}=={pin[2]}"
        for line in Path(lock).read_text(encoding="utf-8").splitlines()
        if (pin := PIN.fullmatch(line)) and "+" not in pin[2]
    ]
    with tempfile.TemporaryDirectory() as folder:
        wanted, made = Path(folder, "wanted.txt"), Path(folder, "pylock.toml")
        wanted.write_text("\n".join(pins), encoding="utf-8")
        command = (
            f"{sys.executable} -m uv pip compile --quiet --no-deps --no-config --generate-hashes "
            "--python-version 3.11 --python-platform x86_64-manylinux_2_40 --format pylock.toml"
        )
        subprocess.run([*command.split(), str(wanted), "-o", str(made)], check=True)
        packages = tomllib.loads(made.read_text(encoding="utf-8"))["packages"]
    return {
        _plain(package["name"]): {
            f"sha256:{file['hashes']['sha256']}"
            for file in [*package.get("wheels", []), package.get("sdist")]
            if file
        }
        for package in packages
    }


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
