"""Thin endpoints: parse, call, answer."""
