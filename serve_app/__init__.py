"""The ways in: the HTTP API on Ray Serve, its event stream and metrics, and the command line.

Nothing in here decides anything about a run. Requests are checked and handed to the orchestrator;
history is read from the store.
"""
