"""Budgets: what may be spent, what is put aside for calls on their way, and what was spent."""
