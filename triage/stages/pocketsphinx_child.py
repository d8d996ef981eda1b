"""The offline recogniser's own process: audio in on stdin, hypotheses out on stdout, nothing else.

The engine keeps the interpreter to itself for up to 114 ms at the end of an utterance; in here that hurts nobody.
This file is run as a script by `pocketsphinx_stt` and imports nothing of ours. Every message is a five-byte head (kind,
length) and a body; each request gets exactly one reply, in order.

    request   b"A" int16 samples      decode them
              b"F" empty              end the utterance
    reply     b"R" empty              ready (once, unasked)
              b"I" JSON segments      what is heard so far (may be empty)
              b"E" JSON segments      what was heard, with confidences
              b"X" JSON text          cannot start; why

A segment is [word, first frame, last frame, probability]; frames are 10 ms of the utterance's own audio.
"""

import gzip
import json
import os
import signal
import struct
import sys
import tempfile
from typing import Any, BinaryIO

HEAD = struct.Struct("<cI")
SEARCH = "triage"


def load(language_model: str, pronunciations: str, cepstral_mean: str) -> Any:
    """A decoder on the wheel's acoustic model and our language model.

    Raises:
        ImportError: no wheel here.
        Exception: the engine's own, when a file is broken.
    """
    from pocketsphinx import Config, Decoder, get_model_path

    root = get_model_path("en-us")
    with gzip.open(language_model) as packed:
        model = packed.read()
    single = model[model.index(b"\\1-grams:") : model.index(b"\\2-grams:")].decode("ascii")
    known = {line.split("\t")[1] for line in single.splitlines() if "\t" in line}
    with tempfile.TemporaryDirectory() as folder:
        arpa, words = os.path.join(folder, "model.arpa"), os.path.join(folder, "words.dict")
        with open(arpa, "wb") as out:
            out.write(model)
        with open(words, "w", encoding="ascii") as kept:  # a dictionary of the model's own words saves 30 MB
            for source in (os.path.join(root, "cmudict-en-us.dict"), pronunciations):
                with open(source, encoding="ascii") as lines:
                    kept.writelines(line for line in lines if line.split(" ", 1)[0].partition("(")[0] in known)
        decoder = Decoder(
            Config(
                hmm=os.path.join(root, "en-us"),
                dict=words,
                lm=None,
                loglevel="FATAL",
                samprate=16000,
                cmninit=cepstral_mean,
            )
        )
        decoder.add_lm_file(SEARCH, arpa)
    decoder.activate_search(SEARCH)
    return decoder


def segments(decoder: Any) -> list[tuple[str, int, int, float]]:
    """The hypothesis as it stands; the probability means something after the utterance's end only."""
    if decoder.hyp() is None:
        return []
    return [(s.word, s.start_frame, s.end_frame, round(float(s.prob), 4)) for s in decoder.seg()]


def reply(out: BinaryIO, kind: bytes, body: Any = None) -> None:
    """Write one message."""
    encoded = b"" if body is None else json.dumps(body).encode()
    out.write(HEAD.pack(kind, len(encoded)) + encoded)
    out.flush()


def serve(decoder: Any, requests: BinaryIO, out: BinaryIO) -> None:
    """Answer requests until the other side closes."""
    speaking = False
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        kind, length = HEAD.unpack(head)
        body = requests.read(length)
        if kind == b"A":
            if not speaking:
                decoder.start_utt()
                speaking = True
            decoder.process_raw(body, False, False)
            reply(out, b"I", segments(decoder))
        else:
            heard: list[tuple[str, int, int, float]] = []
            if speaking:
                decoder.end_utt()
                speaking = False
                heard = segments(decoder)
            reply(out, b"E", heard)


def main() -> None:
    """Load what the arguments name, say so, serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the call process; it closes our pipe when it is done
    out = sys.stdout.buffer
    try:
        decoder = load(*sys.argv[1:4])
    except Exception as error:  # a foreign wheel: whatever it raises, the parent is told
        reply(out, b"X", "no wheel" if isinstance(error, ImportError) else "model")
        return
    reply(out, b"R")
    try:
        serve(decoder, sys.stdin.buffer, out)
    except BrokenPipeError:
        os._exit(0)  # nobody is left to tell


if __name__ == "__main__":
    main()
