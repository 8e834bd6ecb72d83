"""What every test shares."""

from hypothesis import settings

# Shared machines are slow now and then: time is what `make bench` measures. `make fuzz` looks longer.
settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile("quick")
