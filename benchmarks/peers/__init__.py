"""`python -m benchmarks --peers`: what a relayed message costs here, and what it costs where others relay it.

The key decision: one fake upstream, one load generator, one run, and the relays take turns in short rounds. A number of
another day or another machine is worth nothing beside these, so none is quoted: whoever wants nginx's number measures
nginx. A peer that is not installed is left out, with a line that says how to get it.
"""
