"""Stand-ins that can be run by hand, for what cannot be reached here. A bench, never a product."""
