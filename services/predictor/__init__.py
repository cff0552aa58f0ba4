"""Image -> Triton -> prediction, from the bus and by request-reply."""
