"""Engines: what turns a request into a stream of deltas, one module for each kind."""
