"""Plans: the view of a turn (`view`), the JSON schema of exactly its plans (`schema`), the reading
of an answer (`read`), the plans that must not run (`lint`), and the planner that takes over when
the model has no valid plan (`rules`).
"""
