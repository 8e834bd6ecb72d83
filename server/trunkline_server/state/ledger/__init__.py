"""The ledger: what every attempt at a provider used and cost, and how every call ended."""
