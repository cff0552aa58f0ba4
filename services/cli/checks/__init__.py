"""What `loopline doctor` looks at beside the bus."""
