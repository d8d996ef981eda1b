"""Telephones that ring the line and are rung by it: real programs, set up for loopback."""
