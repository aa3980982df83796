"""The load: clients' conversations and requests, and the fake upstream that they lead to.

The key decision: both ends are raw non-blocking sockets in one thread each, made to cost less than what they load;
what they use themselves is printed beside every number.
"""
