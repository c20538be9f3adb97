"""Prompts: files beside this module, strictly rendered (`prompt`), and the messages that are built
from them for a plan (`planning`), a worker call (`worker`) and a synthesis (`synthesis`).
"""
