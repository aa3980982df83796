"""`make bench`: what the service adds to a conversation, measured beside the same thing without it.

The key decision: every number is a difference or a ratio within one run. Each load goes at the same time, or in turn,
over two *targets*: straight to the fake upstream, and through the service; so the load generator, the upstream and
whatever else the machine does are in both. How other relays fare over the same loads is in `benchmarks.peers`.

Linux only: CPU and memory are read from /proc. Delays compare CLOCK_MONOTONIC of two processes of one machine.
"""
