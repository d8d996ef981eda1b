"""The service: rooms joined into a telephone line that listens for danger and brings a nurse."""
