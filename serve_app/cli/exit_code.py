"""The exit codes of `familiar`, for scripts."""

from __future__ import annotations

from enum import IntEnum

from familiar.errors import ClusterError, ConfigError, EngineError, InputError, StoreError

HELP = (
    "Exit codes: 0 succeeded; 1 the run or familiar failed; 2 invalid input, configuration or "
    "usage; 3 the run was cancelled; 4 the service or machine is not available or not ready; "
    "130 interrupted by Ctrl-C (143 by SIGTERM)."
)


class ExitCode(IntEnum):
    """130 and 143 are a shell's own: 128 and the number of the signal."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    CANCELLED = 3
    UNAVAILABLE = 4
    INTERRUPTED = 130


def code_of_outcome(outcome: str) -> ExitCode:
    """For a run that has ended."""
    known = {"succeeded": ExitCode.OK, "cancelled": ExitCode.CANCELLED}
    return known.get(outcome, ExitCode.FAILED)


def code_of_error(error: Exception) -> ExitCode:
    if isinstance(error, InputError | ConfigError):
        return ExitCode.BAD_INPUT
    if isinstance(error, ClusterError | StoreError | EngineError):
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED
