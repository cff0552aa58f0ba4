"""Measurements, run by `./taskw bench:…`; no test looks at a clock."""
