"""The record of a call: sealed, chained, durable, and verifiable by somebody who may not read it.

A writer seals (`audit.writer`), a store keeps (`audit.store`, `audit.journal`), a reader opens and records that it did
(`audit.reader`), a verifier proves (`audit.chain`, and `audit.verify_export` without any of our code). Nothing here
knows what a call is about, reads a clock, or touches the network.
"""
