"""The benchmark of watching: it runs, and its rates are those that the guide states."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import watch_error_rates as benchmark


def test_small(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A few streams give both tables, and no rate above the stated one."""
    monkeypatch.setattr(benchmark, "DELAYS", ((250, 0.02),))
    monkeypatch.setattr(benchmark, "SHARES", (0.02,))

    code = benchmark.main(["--streams", "40", "--calls", "20"])

    told = capsys.readouterr().out
    assert code == 0
    assert "share 2%" in told
    assert "250            2%          12%          334" in told


def test_a_drop_is_found_within_what_the_guide_states() -> None:
    """From 98 % to 88 %, beside 250 cases, nine of ten streams alarm within 1,000 calls."""
    half, most = benchmark.delay(np.random.default_rng(5), 250, 0.02, 0, 100)

    assert half <= 400
    assert most <= 1000
