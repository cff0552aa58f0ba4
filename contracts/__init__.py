"""The words spoken on the bus: envelope, events, scope card, topology, telemetry names. Imports pydantic only."""
