"""The rendered speech that ships with the product: clips, and the manifest that names and hashes them."""
