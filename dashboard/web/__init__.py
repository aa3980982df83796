"""The dashboard's pages and their JSON: parse, ask, answer."""
