"""The examples of the API's description: answers that real runs gave, as `examples.RUN_DETAIL`.

`scripts/record_examples.py` records them into `examples.json`; none is written by hand.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any


def __getattr__(name: str) -> Any:
    """The recorded answer of this name: a JSON value, or text."""
    try:
        return _recorded()[name.lower()]
    except KeyError:
        raise AttributeError(f"No example {name} is recorded.") from None


@functools.cache
def _recorded() -> dict[str, Any]:
    text = files("serve_app").joinpath("examples.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    accepted = found["run_accepted"]
    return {**found, "run_id": accepted["run_id"], "session_id": accepted["session_id"]}
