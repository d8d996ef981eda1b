"""The call as a state machine: events in, effects out, no I/O, no clock."""
