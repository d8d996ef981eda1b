"""Telephone lines: everything that fulfils `ports.Line`."""
