"""Tests of `selfcheck`."""
