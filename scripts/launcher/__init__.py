"""What `make run` is made of: the parts it starts, watches and ends. The tests start their real servers with it too."""
