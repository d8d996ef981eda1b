"""Training of the urgency model: corpus, generator, fit, report. Needs the `train` extra; never imported in a call."""
