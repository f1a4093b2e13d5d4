"""`python3 -m ml_target report`: one file with everything that a bug report needs."""
