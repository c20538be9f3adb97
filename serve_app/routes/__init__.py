"""The operations of the API, one noun a file, each a router over a backend."""
