"""Audio of the bench's calls: codecs, RTP, keys, and the thread that keeps the beat."""
