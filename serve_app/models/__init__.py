"""What the API takes and gives, one noun a file. Unknown fields are refused.

All times are seconds since the Unix epoch, all durations seconds, all sizes bytes.
"""
