"""Engines behind the ports: each file fulfils one of them. Local ones need no key and no network."""
