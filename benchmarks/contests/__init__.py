"""What is measured: each module is one question, put to the service and to other relays in the same run.

The key decision: every number is a difference or a ratio within one run. The relays take turns in short rounds, in
changing order, before the same fake upstream; whatever the machine does besides falls on all of them. A number of
another day or another machine is worth nothing beside these, so none is quoted.
"""
