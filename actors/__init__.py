"""Ray actors and what lives in their processes: replicas, workbenches, orchestrator, store."""
