"""What the demo's callers say: made-up sentences in synthetic voices, rendered by `render.py` from `lines.toml`."""
