"""Who calls: gateway keys, what is kept of them, and the check that every call goes through."""
