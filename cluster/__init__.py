"""Ray topology: a private local Ray or a named one, its nodes and devices, replicas on devices.

`local` starts or connects, `inventory` lists nodes and devices, `assignment` decides which device
each replica gets, and `placement` carries that out with detached, named placement groups, again and
again while nodes come and go. Nothing here knows of engines, runs or HTTP.
"""
