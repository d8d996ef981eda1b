"""How urgent are these words, after that question, in this call? Rules, call-level accumulation, later a model."""
