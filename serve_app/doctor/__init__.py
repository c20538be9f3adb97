"""What is missing on this machine, and what to do about it, in plain words.

`machine.py` looks at what every deployment needs, `deployment.py` at what one configuration names.
Each check looks and changes nothing; none starts Ray or an engine, so all of them take seconds.
"""
