"""Model files of the local stages."""
