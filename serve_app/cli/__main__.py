"""`python -m serve_app.cli`, for a machine where the console script is not on the path."""

from __future__ import annotations

from serve_app.cli import main

if __name__ == "__main__":
    main()
