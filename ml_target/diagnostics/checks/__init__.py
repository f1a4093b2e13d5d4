"""What `python3 -m ml_target selfcheck` checks: samples with known answers, bounds, a module per task, the report."""
