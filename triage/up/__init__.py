"""A whole telephone line on one machine: its engines, their configuration, one supervisor, trunks and rules, health."""
