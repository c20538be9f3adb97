"""Configuration: one YAML, strictly typed (`schema`), read and explained by `load`."""
