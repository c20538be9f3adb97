"""Following a run in a terminal: `board` folds its stream, `live` and `lines` show it as it goes,
`report` shows the result at the end."""
