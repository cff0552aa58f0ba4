"""What every service stands on, and the only room that imports faststream, nats and opentelemetry."""
