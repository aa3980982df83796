"""What `scripts/rollback.py` is made of: the plan, the steps, the journal, and what each kind of database needs."""
