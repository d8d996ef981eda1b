"""The room side of the bench: LiveKit's RPC over Redis, and one participant in a room for each call."""
