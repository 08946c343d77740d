"""Seconds and bytes: our objectives beside other libraries. Plain package."""
