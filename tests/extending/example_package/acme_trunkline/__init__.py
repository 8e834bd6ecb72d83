"""What Acme adds to Trunkline: a dialect and a provider."""
