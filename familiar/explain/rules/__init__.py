"""The rules of diagnosis, one family a file; `table` lists them all."""
