"""Find missing requirements of this machine, each with a remedy.

`machine.py` checks the needs of every deployment, `deployment.py` those of one configuration.
Each check looks and changes nothing; none starts Ray or an engine, so all of them take seconds.
"""
