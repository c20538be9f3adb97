"""Ray topology: a private local Ray or a named one, its nodes and devices, and who sits where.

`local` starts or connects, `inventory` looks at what there is, `assignment` decides which device
each replica gets, `placement` carries that out with detached, named placement groups. Nothing here
knows of engines, runs or HTTP.
"""
