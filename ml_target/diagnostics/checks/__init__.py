"""What `python3 -m ml_target selfcheck` looks at: samples with known answers, bounds, one module a task, the report."""
