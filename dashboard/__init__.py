"""The admin dashboard: a process of its own that sees all workers of all nodes through Redis and the database.

The key decision: it holds no key of ElevenLabs and opens no connection to it. What needs one (a canary, a look at the
secrets) is an order that a worker of the service carries out (`service.orders`).
"""
