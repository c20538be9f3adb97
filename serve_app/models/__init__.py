"""Requests and answers of the API, one noun per file. Unknown fields are rejected.

All times are seconds since the Unix epoch, all durations seconds, all sizes bytes.
"""
