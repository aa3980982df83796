"""What the tests of the rollback and its soak have in common: real databases to break, and rollbacks to interrupt."""
