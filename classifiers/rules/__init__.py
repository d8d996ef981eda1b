"""The red flags, the lexicon, the assertion cues and the categories: data, no code."""
