"""The demo: scenarios, simulated caller, screen and report of one call on one machine."""
