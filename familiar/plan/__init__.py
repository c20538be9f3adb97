"""Plans: what the orchestrator may plan this turn (`view`), the JSON schema of exactly that
(`schema`), how an answer is read (`read`), which plans must not run (`lint`), and who plans when
the model cannot (`rules`).
"""
