"""Replicas: engines in actors of their own, the attempts that they carry out, and their keeper."""
