"""The offline recogniser's language model, its text and the script that builds it."""
