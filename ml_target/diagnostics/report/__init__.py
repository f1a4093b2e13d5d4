"""`python3 -m ml_target report`: one file that says what a stranger needs to help."""
