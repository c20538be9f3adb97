"""Ray topology: a private local Ray or a named one, its nodes and devices, replicas on devices.

`local` starts or connects, `inventory` lists nodes and devices, `assignment` decides which device
each replica gets, `placement` carries that out with detached, named placement groups, and
`reconcile` repeats it while nodes come and go. Nothing here knows of engines, runs or HTTP.
"""
