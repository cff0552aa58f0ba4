"""The operator view in a browser: hears the bus through one subscription, and says what its user decides."""
