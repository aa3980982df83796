"""`make soak`: what is too long for `make test`: all of Autobahn, ten million frames, thousands of broken talks.

The key decision: everything runs against the real service process (gunicorn, gevent's worker, sockets of the loopback
interface), and what each frame must be follows from its number alone, so every byte of every frame is compared.

Linux only, as `benchmarks` is, whose parts it is made of.
"""
