"""The deployments that faults are injected into: as in production, but for the scripted engines.

All faults run side by side in one deployment, those that use up a budget in a second one with
tight budgets. Seconds stand for minutes: deadlines are a hundredth of their defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from familiar.config.schema import Config
from tests.faults.injected import FAULTS, RATE, Fault

DEADLINES = {
    "parallel": 32,
    "deadline_s": 3.0,
    "first_token_deadline_s": 2.5,
    "stall_deadline_s": 1.2,
    "queue_deadline_s": 60.0,
    "sampling": {"max_tokens": 100_000},
}
NEAR, FAR = "near", "far"


def on(place: str) -> dict[str, Any]:
    """A selector of one of the two nodes: only what shall be lost is on the far one."""
    return {"labels": {"place": place}}


def faults_config(folder: Path, url: str) -> Config:
    """Generous budgets; one pool for each fault that would disturb others."""
    faults = [fault for fault in FAULTS if not fault.budgets]
    rules = [rule for fault in faults for rule in fault.rules]
    pools = {
        "brain": _pool(_planner(faults)),
        "steady": _pool(rules),
        "frail": _pool(rules),
        "flappy": _pool(rules),
        "narrow": _pool(rules, context_length=256),
        "crowded": _pool(rules, slots=1),
        "far": _pool(rules, replicas=[{"node": on(FAR)}]),
    }
    aliases = {
        "orchestrator": {"pool": "brain", "parallel": 64, "sampling": {"max_tokens": 2_000}},
        "steady": {"pool": "steady", **DEADLINES},
        "filer": {"pool": "steady", **DEADLINES, "mode": "output_file"},
        "short": {
            "pool": "steady",
            **DEADLINES,
            "mode": "output_file",
            "sampling": {"max_tokens": 40},
        },
        "frail": {"pool": "frail", **DEADLINES},
        "flappy": {"pool": "flappy", **DEADLINES},
        "narrow": {"pool": "narrow", **DEADLINES},
        "crowded": {"pool": "crowded", **DEADLINES, "queue_deadline_s": 1.2},
        "far": {"pool": "far", **DEADLINES, "deadline_s": 120.0, "queue_deadline_s": 2.0},
    }
    return _config("faults", folder, url, pools, aliases, {"turns": 2, "attempts": 3})


def budgets_config(folder: Path, url: str) -> Config:
    """Budgets that a run has used up within seconds."""
    faults = [fault for fault in FAULTS if fault.budgets]
    rules = [rule for fault in faults for rule in fault.rules]
    pools = {
        "brain": _pool(_planner(faults)),
        "steady": _pool(rules),
        "priced": _pool(rules, price={"input_per_million": 0, "output_per_million": 1_000}),
    }
    aliases = {
        "orchestrator": {"pool": "brain", "parallel": 64},
        "steady": {"pool": "steady", **DEADLINES, "deadline_s": 300.0},
        "priced": {"pool": "priced", **DEADLINES},
    }
    budgets = {
        "turns": 3,
        "model_calls": 9,
        "output_tokens": 700,
        "tokens": 4_000,
        "recoveries": 2,
        "money": 0.05,
        "wall_s": 20.0,
        "attempts": 6,
    }
    return _config("budgets", folder, url, pools, aliases, budgets)


def _planner(faults: list[Fault]) -> list[dict[str, Any]]:
    return [rule for fault in faults for rule in fault.planner_rules()]


def _pool(rules: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    script = {"rates": {"ttft_s": 0.02, "tokens_per_s": RATE}, "rules": rules}
    return {
        "engine": "scripted",
        "model": "script",
        "slots": 64,
        "health_interval_s": 1.0,
        "context_length": 200_000,
        "replicas": [{"node": on(NEAR)}],
        "engine_args": {"script": script},
        **more,
    }


def _config(
    name: str,
    folder: Path,
    url: str,
    pools: dict[str, Any],
    aliases: dict[str, Any],
    budgets: dict[str, Any],
) -> Config:
    return Config.model_validate(
        {
            "deployment": name,
            "pools": pools,
            "aliases": aliases,
            "orchestrator": {"rules_planner": False, "synthesis": False, "plan_tries": 2},
            "budgets": budgets,
            "store": {"url": url},
            "workspace": {"root": str(folder / name)},
            "api": {"auth": "none"},
            "cluster": {"orchestrator_node": on(NEAR)},
        }
    )
