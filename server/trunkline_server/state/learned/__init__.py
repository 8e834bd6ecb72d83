"""What calls taught about models, kept: bounded, and in the ledger's database."""
