"""Find missing requirements of this machine, each with a remedy.

`machine.py` checks the needs of every deployment, `deployment.py` those of one configuration, and
`servers.py` makes a call to each server at a URL. Each check looks and changes nothing; none starts
Ray or an engine. All take seconds, except a server that answers late.
"""
