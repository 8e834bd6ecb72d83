"""What calls teach about models, and what is done with it: strategy `performance_based`. Pure."""
