"""A telephone call in a LiveKit room, as a `ports.Line`."""
