"""The orchestrator actor: every open run of a deployment, decided, recorded and performed."""
