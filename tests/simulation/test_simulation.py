"""Every scenario once: its bars hold. `make simulate` plays them with several seeds and prints the figures."""

from __future__ import annotations

import pytest
from simulation import scenarios, scenarios_of_attempts, scenarios_of_signals
from virtual_time import run_virtual

SCENARIOS = {**scenarios.SCENARIOS, **scenarios_of_attempts.SCENARIOS, **scenarios_of_signals.SCENARIOS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_bars_hold(name: str) -> None:
    bars = run_virtual(SCENARIOS[name](7))
    assert bars
    assert not [str(bar) for bar in bars if not bar.holds]
