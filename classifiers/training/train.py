"""`make train`: build the examples, fit, write model file, manifest and model card; say whether anything changed."""

import argparse
import sys
from pathlib import Path

from classifiers.features import CLASSES_FILE, WordClasses
from classifiers.model import MANIFEST_FILE, WEIGHTS_FILE, UrgencyModel
from classifiers.training import card, fit, generate

HOME = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """0 when done; with --check 1 when the result differs from the file in the repository, and nothing is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the model file")
    options = parser.parse_args(arguments)
    folder = HOME / "model_data"
    classes_text = (folder / CLASSES_FILE).read_text(encoding="utf-8")
    classes = WordClasses(classes_text)
    found = generate.examples()
    trained = fit.train(found, classes, print)
    try:
        before = UrgencyModel.load().version
    except ValueError:
        before = "none"
    same = before == trained.version
    print(f"version {trained.version}: {'identical to' if same else 'differs from'} the model file ({before})")
    if options.check:
        return 0 if same else 1
    (folder / WEIGHTS_FILE).write_bytes(fit.packed(trained.payload))
    (folder / MANIFEST_FILE).write_text(fit.manifest(trained, classes_text), encoding="utf-8")
    text = card.write(found, trained, UrgencyModel.load())
    (HOME / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    print(f"thresholds {trained.thresholds}; {len(trained.payload)} bytes, {len(fit.packed(trained.payload))} packed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
