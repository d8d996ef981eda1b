"""The way to a nurse outside the machine: the directory, the packet, the clock."""
