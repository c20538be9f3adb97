"""The workspace process: the only writer of a session's files and of their history."""
