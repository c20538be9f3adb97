"""Following a run in a terminal: `board` folds its stream, `live` and `lines` show it as it goes,
`report` tells at the end what became of it."""
