"""Workers with a ledger, as processes that are killed: for the suite and for `soak.ledger`."""
