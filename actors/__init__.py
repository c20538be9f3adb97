"""Ray actors: orchestrator, replicas, workspace processes; engines and the store that they use."""
