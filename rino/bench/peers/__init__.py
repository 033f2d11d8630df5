"""Peers of `rino bench`, each a process in whatever environment has it: it needs the peer, nothing of this project."""
