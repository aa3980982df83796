"""Vault (or OpenBao) as we use it: log in, keep the token alive, read one path."""
